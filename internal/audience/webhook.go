package audience

import "time"

// WebhookID is a webhook's, e.g. "crm".
type WebhookID string

// Bounds of a webhook, and what its zero values mean.
const (
	MaxWebhookBatch        = 1000
	MaxWebhookAttempts     = 100
	MaxWebhookTimeout      = 2 * time.Minute
	DefaultWebhookBatch    = 100
	DefaultWebhookAttempts = 12
	DefaultWebhookTimeout  = 10 * time.Second
)

// Webhook is a receiver that is told over HTTP who enters and leaves segments, from its creation on. It names its secret,
// it never holds it: that is a file in the service's secrets directory.
type Webhook struct {
	Meta     `json:"-"`
	ID       WebhookID
	Title    string
	URL      string
	Secret   string      // file name inside the secrets directory
	Segments []SegmentID // of which it is told; none: of all
	Batch    int         // changes a request carries at most; 0: DefaultWebhookBatch
	Timeout  time.Duration
	Attempts int  // at a request that gets no answer or a fault, before its changes become dead letters; 0: DefaultWebhookAttempts
	Disabled bool // keeps its place, and is told what it missed when it is enabled again
}

// Validate says all that is wrong with the webhook by itself.
func (w *Webhook) Validate() error {
	var v Violations
	CheckURL(&v, "url", w.URL, "https://crm.example.com/hooks/kohorta")
	if !IsSecretName(w.Secret) {
		v.Add("secret", "%.80q is not the name of a file in the secrets directory, such as crm-secret", w.Secret)
	}
	if w.Batch < 0 || w.Batch > MaxWebhookBatch {
		v.Add("batch_size", "is %d; use 1 to %d, or 0 for %d", w.Batch, MaxWebhookBatch, DefaultWebhookBatch)
	}
	if w.Timeout < 0 || w.Timeout > MaxWebhookTimeout {
		v.Add("timeout", "is %s; use up to %s, or leave it out for %s", w.Timeout, MaxWebhookTimeout, DefaultWebhookTimeout)
	}
	if w.Attempts < 0 || w.Attempts > MaxWebhookAttempts {
		v.Add("max_attempts", "is %d; use 1 to %d, or 0 for %d", w.Attempts, MaxWebhookAttempts, DefaultWebhookAttempts)
	}
	return v.Err()
}

// WebhookState is how far a webhook's receiver has been told, and how it answers. The newest state stands.
type WebhookState struct {
	Cursor    string    // of the stream of changes: all behind it are still to be told
	Delivered time.Time // when the receiver last accepted something; zero: never
	Failed    time.Time // when an attempt last failed; zero: never
	Error     string    // of that attempt, in words
	Remedy    string    // what a person can do about it; "" unless only a person can help
	Attempts  int       // that have failed at the batch under way; 0 while all is well
}

// WebhookStatus is how a webhook does.
type WebhookStatus struct {
	WebhookState
	Following   bool          // Lag is known
	Lag         time.Duration // the age of the oldest change that is still to be told
	DeadLetters int64
}

// DeadLetter is a change that a receiver did not accept. It was passed over, and can be sent again.
type DeadLetter struct {
	ID      string // by which the receiver knows the change
	User    UserID
	Version uint64 // of the log
	Change  []byte // JSON, as it was sent
	Reason  string // in words
	Time    time.Time
}
