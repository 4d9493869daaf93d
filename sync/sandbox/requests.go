package sandbox

import (
	"slices"
	"time"
)

// logCapacity is how many requests the log keeps; the counts cover all.
const logCapacity = 10_000

// Request is a log line: what was asked and answered, without parameters, tokens or rows.
type Request struct {
	Seq      int       `json:"seq"` // from 1, in order of completion
	Time     time.Time `json:"time"`
	Platform string    `json:"platform"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Status   int       `json:"status"` // 0 when the connection was reset before anything was applied
	Code     int       `json:"code"`   // the platform's own code, 0 for success
	Rows     int       `json:"rows"`
	Bytes    int       `json:"bytes"` // of the request body
	Fault    FaultKind `json:"fault,omitempty"`
}

// Count sums requests.
type Count struct {
	Requests int `json:"requests"`
	Refused  int `json:"refused"` // with an error code or a status of 400 and more
	Rows     int `json:"rows"`
	Bytes    int `json:"bytes"`
}

// journal is the log and its sums per platform.
type journal struct {
	seq    int
	recent []Request
	counts map[string]Count
}

func newJournal() journal { return journal{counts: map[string]Count{}} }

func (s *Server) record(platform string, req *request, rep reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := &s.journal
	j.seq++
	line := Request{Seq: j.seq, Time: s.now(), Platform: platform, Method: req.Method, Path: req.URL.Path,
		Status: rep.status, Code: rep.code, Rows: req.rows, Bytes: len(req.body)}
	if req.fault != nil {
		line.Fault = req.fault.Kind
	}
	if len(j.recent) == logCapacity {
		j.recent = slices.Delete(j.recent, 0, logCapacity/10)
	}
	j.recent = append(j.recent, line)
	c := j.counts[platform]
	c.Requests++
	c.Rows += line.Rows
	c.Bytes += line.Bytes
	if line.Code != 0 || line.Status >= 400 {
		c.Refused++
	}
	j.counts[platform] = c
}

// Requests is the log, oldest first: the last 9,000 to 10,000 requests.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal.recent)
}

// Counts sums all requests since the last reset, for "meta" or "tiktok".
func (s *Server) Counts(platform string) Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.counts[platform]
}
