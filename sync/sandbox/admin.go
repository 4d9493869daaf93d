package sandbox

import (
	"encoding/json"
	"net/http"
	"time"
)

// admin is the sandbox's own control. It knows no users: the listener is on loopback.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	read := func(pattern string, value func(*http.Request) any) {
		mux.HandleFunc("GET /admin"+pattern, func(w http.ResponseWriter, r *http.Request) {
			jsonReply(http.StatusOK, value(r)).write(w)
		})
	}
	read("/meta/audiences", func(*http.Request) any { return s.meta.Audiences() })
	read("/tiktok/audiences", func(*http.Request) any { return s.tiktok.Audiences() })
	read("/faults", func(*http.Request) any { return s.Faults() })
	read("/clock", func(*http.Request) any { return map[string]time.Time{"now": s.Now()} })
	read("/requests", func(*http.Request) any {
		return map[string]any{"meta": s.Counts(platformMeta), "tiktok": s.Counts(platformTikTok), "requests": s.Requests()}
	})
	mux.HandleFunc("GET /admin/meta/audiences/{id}/members", func(w http.ResponseWriter, r *http.Request) {
		writeMembers(w, s.meta.Members(r.PathValue("id")))
	})
	mux.HandleFunc("GET /admin/tiktok/audiences/{id}/members", func(w http.ResponseWriter, r *http.Request) {
		writeMembers(w, s.tiktok.Members(r.PathValue("id")))
	})

	handle(mux, "POST /admin/reset", func(*http.Request, *struct{}) error { s.Reset(); return nil })
	handle(mux, "POST /admin/faults", func(_ *http.Request, f *Fault) error { return s.Inject(*f) })
	handle(mux, "DELETE /admin/faults", func(*http.Request, *struct{}) error { s.ClearFaults(); return nil })
	handle(mux, "POST /admin/quotas", func(_ *http.Request, b *struct {
		Enforce bool `json:"enforce"`
	}) error {
		s.EnforceQuotas(b.Enforce)
		return nil
	})
	handle(mux, "POST /admin/clock", func(_ *http.Request, b *struct {
		Advance Duration `json:"advance"`
	}) error {
		s.Advance(time.Duration(b.Advance))
		return nil
	})
	handle(mux, "POST /admin/meta/audiences/{id}", func(r *http.Request, b *struct {
		State AudienceState `json:"state"`
	}) error {
		return s.meta.SetState(r.PathValue("id"), b.State)
	})
	handle(mux, "POST /admin/meta/audiences/{id}/fail-replace", func(r *http.Request, _ *struct{}) error {
		return s.meta.FailReplace(r.PathValue("id"))
	})
	handle(mux, "POST /admin/meta/accounts/{id}", func(r *http.Request, b *struct {
		TermsAccepted bool `json:"terms_accepted"`
	}) error {
		return s.meta.SetTerms(r.PathValue("id"), b.TermsAccepted)
	})
	handle(mux, "POST /admin/meta/accounts/{id}/value-terms", func(r *http.Request, b *struct {
		Accepted bool `json:"accepted"`
	}) error {
		return s.meta.SetValueTerms(r.PathValue("id"), b.Accepted)
	})
	handle(mux, "DELETE /admin/tiktok/audiences/{id}", func(r *http.Request, _ *struct{}) error {
		return s.tiktok.SetDeleted(r.PathValue("id"))
	})
	return mux
}

// handle answers a command: its JSON body is read strictly, an error is told with status 400.
func handle[B any](mux *http.ServeMux, pattern string, do func(*http.Request, *B) error) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var body B
		if r.ContentLength != 0 {
			dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&body); err != nil {
				jsonReply(http.StatusBadRequest, map[string]string{"error": err.Error()}).write(w)
				return
			}
		}
		if err := do(r, &body); err != nil {
			jsonReply(http.StatusBadRequest, map[string]string{"error": err.Error()}).write(w)
			return
		}
		jsonReply(http.StatusOK, map[string]bool{"ok": true}).write(w)
	})
}

func writeMembers[T any](w http.ResponseWriter, members []T) {
	if members == nil {
		jsonReply(http.StatusNotFound, map[string]string{"error": "no such audience"}).write(w)
		return
	}
	jsonReply(http.StatusOK, members).write(w)
}
