package tiktok

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// verdict is what a code asks of us.
type verdict struct {
	kind   destination.Kind
	scope  destination.Scope
	wait   time.Duration
	remedy string
}

// What a person must do about it.
const (
	renewToken  = "connect the advertiser anew and replace the secret that token_secret names; tokens do not renew themselves"
	grantScope  = "connect the advertiser anew, as Admin or Operator, granting audience management (scopes 30 and 31)"
	fixApp      = "correct the app's id and secret, or ask TikTok why the app is blocked"
	askTikTok   = "ask TikTok to open this endpoint for the app"
	wrongURL    = "correct base_url; this host does not serve the audience endpoints"
	wrongOwner  = "check that account is the advertiser who granted the token"
	reportBug   = "this request is one the API does not take; report it with the code"
	stillBroken = "if it lasts, ask TikTok with the request id"
)

// verdicts is the table of 7, for the endpoints used here.
var verdicts = map[int]verdict{
	40000: {destination.Misconfigured, destination.OfAudience, 0, reportBug},
	40001: {destination.Unauthorized, destination.OfAccount, 0, grantScope},
	40002: {destination.Misconfigured, destination.OfAudience, 0, reportBug}, // of rows, see ofRows
	40003: {destination.Unauthorized, destination.OfAccount, 0, grantScope},
	40006: {destination.Misconfigured, destination.OfApp, 0, reportBug},
	40051: {destination.Misconfigured, destination.OfApp, 0, reportBug},
	40007: {destination.Gone, destination.OfAudience, 0, "the audience was deleted at TikTok; sync it with recreate to load all members into a new one"},
	40008: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40009: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40010: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40013: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40014: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40400: {destination.Misconfigured, destination.OfApp, 0, wrongURL},
	40011: {kind: destination.TooLarge},
	40061: {kind: destination.TooLarge},
	40016: {kind: destination.RateLimited, scope: destination.OfApp}, // the wait is the ladder's
	40100: {kind: destination.RateLimited, scope: destination.OfApp},
	61000: {kind: destination.RateLimited, scope: destination.OfApp},
	40132: {destination.RateLimited, destination.OfAccount, time.Minute, ""},
	40133: {destination.RateLimited, destination.OfAccount, 2 * time.Second, ""},
	40050: {kind: destination.Transient, wait: time.Minute},                  // the same request was just taken
	40062: {destination.Misconfigured, destination.OfAudience, 0, reportBug}, // of rows, see ofRows
	40101: {destination.Unauthorized, destination.OfApp, 0, fixApp},
	40113: {destination.Unauthorized, destination.OfApp, 0, fixApp},
	40102: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40103: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40104: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40105: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40106: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40107: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40108: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40110: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40115: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40116: {destination.Unauthorized, destination.OfApp, 0, renewToken},
	40117: {destination.Misconfigured, destination.OfApp, 0, askTikTok},
	40118: {destination.Misconfigured, destination.OfApp, 0, askTikTok},
	40119: {destination.Unauthorized, destination.OfAccount, 0, wrongOwner},
	40124: {destination.Unauthorized, destination.OfApp, 0, grantScope},
	40125: {destination.Unauthorized, destination.OfApp, 0, grantScope},
	40130: {destination.Unauthorized, destination.OfApp, 0, grantScope},
	40200: {destination.Transient, destination.OfRequest, 0, stillBroken},
	40700: {destination.Transient, destination.OfRequest, 0, stillBroken},
	40201: {kind: destination.Busy, scope: destination.OfAudience, wait: 15 * time.Minute},
	40202: {kind: destination.Busy, scope: destination.OfAudience, wait: time.Second}, // a write conflict
	40900: {kind: destination.Transient},                                              // the file arrived changed
	40905: {destination.Rejected, destination.OfRequest, 0, ""},                       // of files, see classify
	40910: {destination.Rejected, destination.OfRequest, 0, ""},
	40906: {destination.Misconfigured, destination.OfRequest, 0, reportBug},
	40907: {kind: destination.TooLarge},
	40908: {destination.Misconfigured, destination.OfRequest, 0, reportBug},
	40909: {destination.Misconfigured, destination.OfRequest, 0, "files of an audience must be of the kind it was made with"},
	40914: {destination.Misconfigured, destination.OfRequest, 0, reportBug},
	40915: {destination.Misconfigured, destination.OfRequest, 0, reportBug},
	40300: {destination.Misconfigured, destination.OfAccount, 0, wrongOwner},
	40301: {destination.Misconfigured, destination.OfAccount, 0, wrongOwner},
	40302: {destination.Misconfigured, destination.OfAccount, 0, wrongOwner},
	41000: {destination.Misconfigured, destination.OfApp, 0, "the service calls from a country that TikTok bars"},
	41001: {destination.Misconfigured, destination.OfApp, 0, "TikTok has taken this endpoint offline"},
	41002: {destination.Misconfigured, destination.OfApp, 0, "TikTok has taken a field of this endpoint offline"},
	60001: {destination.Transient, destination.OfApp, 10 * time.Minute, ""}, // maintenance
}

// classify gives the error of a code that is none of success. Codes the sheet does not list go by their range: 4 is ours,
// 5 and above are TikTok's.
func classify(s said, message string) error {
	v, known := verdicts[s.code]
	switch {
	case known:
	case s.code >= 40000 && s.code < 50000:
		v = verdict{destination.Misconfigured, destination.OfAudience, 0, "a code the contract does not list; read TikTok's words"}
	default:
		v = verdict{kind: destination.Transient}
	}
	err := errors.New(cmp.Or(destination.Clean(message), fmt.Sprintf("code %d without words", s.code)))
	if s.code == 40905 || s.code == 40910 {
		err = fmt.Errorf("%w: %w", destination.ErrFileGone, err)
	}
	return &destination.Error{Kind: v.kind, Scope: v.scope, RetryAfter: v.wait, Code: strconv.Itoa(s.code), RequestID: s.requestID,
		Remedy: v.remedy, Err: err}
}

// ofRows makes the codes that a mapping request gets for its rows or its audience mean so. A single bad row refuses its
// whole batch: the rest goes through when the row is found (7: bisect, drop the row, go on). Only its words tell an
// audience that is being processed.
func ofRows(err error) error {
	var e *destination.Error
	if !errors.As(err, &e) || (e.Code != "40002" && e.Code != "40062") {
		return err
	}
	if strings.Contains(strings.ToLower(e.Err.Error()), "not editable") {
		e.Kind, e.RetryAfter, e.Remedy = destination.Busy, 15*time.Minute, ""
	} else {
		e.Kind, e.Remedy = destination.Rejected, "if every row is refused, the audience is deleted or another advertiser's"
	}
	return err
}
