package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/secret"
)

const (
	// movesPath is where moves are taken.
	movesPath = "/v1/moves"
	// tolerance is how far the time of a signature may be from the wall clock.
	tolerance = 5 * time.Minute
	// claimed is how long a signature is remembered: longer than it is accepted, also by a replica whose clock is behind.
	claimed = 2*tolerance + time.Minute
	// maxBody bounds a body: the longest move has a third of it.
	maxBody = 64 << 10
	// moveTimeout bounds a move, idleTimeout a caller who says nothing.
	moveTimeout = 30 * time.Second
	idleTimeout = time.Minute
)

// Mover moves users.
type Mover interface {
	// MoveUser returns once the move is in force for every reader. A repeat of a request id does nothing twice.
	MoveUser(ctx context.Context, move audience.Move) (token string, err error)
}

// Claims remembers, for all replicas, what was begun.
type Claims interface {
	// Claim reports whether nobody has claimed the id within the time before. ErrUnavailable when that cannot be known.
	Claim(ctx context.Context, id string, within time.Duration) (first bool, err error)
	Release(ctx context.Context, id string) error
}

// Memberships answers which segments a user is in.
type Memberships interface {
	// SegmentsOf are the resource names of the segments a user is in: all by the same definitions, also while others come
	// into force.
	SegmentsOf(ctx context.Context, user audience.UserID) ([]string, error)
}

// Audit keeps who did what.
type Audit interface {
	RecordAction(ctx context.Context, action audience.Action) error
}

// ReceiverDeps are what a Receiver works with. All are required.
type ReceiverDeps struct {
	Sources     []Source
	SecretPath  func(name string) string
	Mover       Mover
	Claims      Claims
	Memberships Memberships
	Audit       Audit
	Log         *slog.Logger
	Now         func() time.Time // the wall clock: signatures are of the world, whatever time the service lives in
}

// Receiver takes moves over HTTP: POST /v1/moves, see docs/webhooks.md. It is safe for concurrent use.
type Receiver struct {
	ReceiverDeps
	keys []keyFile // of Sources
}

// NewReceiver makes a Receiver. It opens no file.
func NewReceiver(deps ReceiverDeps) *Receiver {
	r := &Receiver{ReceiverDeps: deps}
	for _, source := range deps.Sources {
		r.keys = append(r.keys, newKeyFile(deps.SecretPath(source.Secret), deps.Log))
	}
	return r
}

// Serve answers on the listener until ctx ends, lets moves under way finish within the grace, and returns. A secret that is
// missing is logged at once, not with the first move.
func (r *Receiver) Serve(ctx context.Context, listener net.Listener, grace time.Duration) error {
	r.Log.Info("taking moves", "address", listener.Addr().String(), "sources", len(r.Sources))
	for i := range r.Sources {
		_, _ = r.secretsOf(i)
	}
	server := &http.Server{
		Handler: r, ReadTimeout: moveTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxBody,
		ErrorLog: slog.NewLogLogger(r.Log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("take webhooks on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		return errors.Join(server.Close(), <-ended)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("take webhooks on %s: %w", listener.Addr(), err)
	}
	return nil
}

// moved is the answer to a move.
type moved struct {
	User           audience.UserID `json:"user"`
	Segments       []string        `json:"segments"`
	FreshnessToken string          `json:"freshness_token"`
}

// ServeHTTP answers one request, and logs how: never whom it was about.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := time.Now()
	source, answer, err := r.receive(w, req)
	if err == nil {
		writeJSON(w, http.StatusOK, "application/json", answer)
		r.Log.Info("move taken", "source", source, "took", time.Since(began))
		return
	}
	p := problemOf(err)
	p.write(w)
	level, cause := slog.LevelInfo, slog.String("problem", p.Title)
	if p.Status >= http.StatusInternalServerError {
		level, cause = slog.LevelWarn, slog.Any("error", err)
	}
	r.Log.LogAttrs(req.Context(), level, "move refused", slog.String("source", source), slog.Int("status", p.Status), slog.Duration("took", time.Since(began)), cause)
}

// receive makes the move that a request asks for; source is "" while it is not known.
func (r *Receiver) receive(w http.ResponseWriter, req *http.Request) (source string, answer moved, err error) {
	switch {
	case req.URL.Path != movesPath:
		return "", moved{}, &problem{Title: "There is nothing here", Status: http.StatusNotFound, Detail: "send moves to " + movesPath}
	case req.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return "", moved{}, &problem{Title: "Moves are sent by POST", Status: http.StatusMethodNotAllowed, Detail: "send moves by POST"}
	}
	ctx, cancel := context.WithTimeout(req.Context(), moveTimeout)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return "", moved{}, &problem{Title: "The body is too long", Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("at most %d bytes are allowed; move one user at a time", maxBody)}
	case err != nil:
		return "", moved{}, &problem{Title: "The body did not come", Status: http.StatusBadRequest, Detail: "the body ends before its end; send it again"}
	}
	source, err = r.authenticate(req.Header, body)
	if err != nil {
		return "", moved{}, err
	}
	m, err := readMove(body)
	if err != nil {
		return source, moved{}, err
	}
	// What was signed, and not the signature: of several secrets each gives another one.
	digest := sha256.Sum256(append([]byte(source+"."+req.Header.Get(TimestampHeader)+"."), body...))
	signed := hex.EncodeToString(digest[:])
	answer, err = r.once(ctx, signed, func() (moved, error) { return r.move(ctx, m.move(source, signed), m.requestID) })
	return source, answer, err
}

// authenticate finds the source whose secret has signed a request just now.
func (r *Receiver) authenticate(header http.Header, body []byte) (source string, err error) {
	unsigned := func(field, reason string) error {
		return faulty(http.StatusUnauthorized, "The request is not signed rightly", audience.Violations{{Field: field, Reason: reason}})
	}
	timestamp, signature := header.Get(TimestampHeader), header.Get(SignatureHeader)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return "", unsigned(TimestampHeader, "is not the time of signing in seconds since 1970, such as date +%s gives")
	}
	if signature == "" {
		return "", unsigned(SignatureHeader, "is missing; send v1= and the hex of the HMAC-SHA256 over timestamp, a point and body")
	}
	var unread error
	for i := range r.Sources {
		secrets, err := r.secretsOf(i)
		if err != nil {
			unread = err
			continue
		}
		if !Signed(secrets, timestamp, body, signature) {
			continue
		}
		if age := r.Now().Sub(time.Unix(seconds, 0)); age.Abs() > tolerance {
			return "", unsigned(TimestampHeader, fmt.Sprintf("is more than %d minutes from the service's clock; sign at the time of sending, and set your clock by NTP", int(tolerance.Minutes())))
		}
		return r.Sources[i].Name, nil
	}
	if unread != nil { // it may be the right one
		return "", &problem{Title: "Not available", Status: http.StatusServiceUnavailable,
			Detail: "the secret of a source cannot be read; the service's log says which file to write"}
	}
	return "", unsigned(SignatureHeader, "is not that of any source; sign timestamp, a point and the very bytes of the body with the secret of a source")
}

// secretsOf are the secrets of a source, by its place; that they cannot be read is logged.
func (r *Receiver) secretsOf(source int) ([]secret.Secret, error) {
	secrets, err := r.keys[source].Read()
	if err != nil {
		r.Log.Warn("the secret of a source cannot be read", "source", r.Sources[source].Name, "error", err)
	}
	return secrets, err
}

// once makes a move whose signature nobody has used before. When the service is at fault the signature may be used again.
func (r *Receiver) once(ctx context.Context, signed string, move func() (moved, error)) (moved, error) {
	first, err := r.Claims.Claim(ctx, signed, claimed)
	if err != nil {
		return moved{}, err
	}
	if !first {
		return moved{}, &problem{Title: "The signature was used before", Status: http.StatusConflict,
			Detail: "a signature is taken once; to repeat a move whose answer was lost, sign the same body, request_id included, anew",
			Errors: []fieldFault{{SignatureHeader, "was used before"}}}
	}
	answer, err := move()
	if err != nil && problemOf(err).Status >= http.StatusInternalServerError {
		if err := r.Claims.Release(context.WithoutCancel(ctx), signed); err != nil {
			r.Log.Warn("the signature of a failed move not released", "error", err)
		}
	}
	return answer, err
}

func (r *Receiver) move(ctx context.Context, move audience.Move, requestID string) (moved, error) {
	token, err := r.Mover.MoveUser(ctx, move)
	if err != nil {
		return moved{}, err
	}
	r.record(ctx, move, requestID)
	segments, err := r.Memberships.SegmentsOf(ctx, move.User)
	if err != nil {
		return moved{}, err
	}
	return moved{User: move.User, Segments: append([]string{}, segments...), FreshnessToken: token}, nil
}

// record writes a move that was made into the audit, without whom it moved. One that cannot be written is told in the log:
// the move is made.
func (r *Receiver) record(ctx context.Context, move audience.Move, requestID string) {
	id, err := uuid.NewV7() // in order of time
	if err == nil {
		var segments []string
		for _, segment := range slices.Concat(move.Into, move.OutOf, move.Release) {
			segments = append(segments, "segments/"+string(segment))
		}
		err = r.Audit.RecordAction(context.WithoutCancel(ctx), audience.Action{
			ID: id.String(), Time: r.Now().UTC(), Actor: move.Actor, Call: http.MethodPost + " " + movesPath,
			Resource: strings.Join(segments, ", "), RequestID: requestID,
		})
	}
	if err != nil {
		r.Log.Error("move not written into the audit", "source", move.Actor, "error", err)
	}
}
