package meta

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kohorta/kohorta/sync/destination"
)

// verdict is what an error of the API asks of us.
type verdict struct {
	kind   destination.Kind
	scope  destination.Scope
	wait   time.Duration
	remedy string
}

const anySubcode = -1

// What a person must do about it.
const (
	renewToken   = "renew the access token and replace the secret that token_secret names"
	checkProof   = "check that app_secret_file holds the secret of the app that made the token"
	acceptTerms  = "a person with a role on the ad account must accept Meta's Custom Audience Terms; a system user cannot"
	acceptValues = "a person with a role on the ad account must accept Meta's terms of value-based Custom Audiences, which stand beside those of Custom Audiences; a system user cannot"
	grantRights  = "give the token's user ads_management and a role on the ad account, or share the audience with the account"
	deleted      = "the audience was deleted at Meta; sync it with recreate to load all members into a new one"
	appReview    = "the app needs Meta's review or a higher access tier for this ad account"
	unflag       = "Meta has flagged the audience; remove telling words from its name and description, or appeal"
	makeNew      = "Meta could not update the audience; if this service did not make it, have a new one created"
	raiseVersion = "set api_version to one that Meta still serves, or leave it out"
	reportBug    = "this request is one the API does not take; report it with the code"
	waitAndAlert = "Meta blocks the app for its behaviour; look at the app's alerts in Meta's dashboard"
)

// verdicts is the table of 4.3, by code and subcode; without a subcode of its own an error takes that of anySubcode.
var verdicts = map[[2]int]verdict{
	{1, anySubcode}: {kind: destination.Transient},
	{1, 99}:         {kind: destination.TooLarge}, // seen at 30 000 rows
	{2, anySubcode}: {kind: destination.Transient},
	{3, anySubcode}: {destination.Misconfigured, destination.OfApp, 0, appReview},

	{4, anySubcode}:   {destination.RateLimited, destination.OfApp, 5 * time.Minute, ""},
	{17, anySubcode}:  {destination.RateLimited, destination.OfAccount, 5 * time.Minute, ""},
	{17, 1885172}:     {destination.RateLimited, destination.OfAccount, time.Hour, ""},
	{17, 2446079}:     {kind: destination.RateLimited, scope: destination.OfAccount}, // by the score, see waitOf
	{32, anySubcode}:  {destination.RateLimited, destination.OfAccount, 5 * time.Minute, ""},
	{341, anySubcode}: {destination.RateLimited, destination.OfApp, 5 * time.Minute, ""},
	{368, anySubcode}: {destination.RateLimited, destination.OfApp, 4 * time.Hour, waitAndAlert},
	{613, anySubcode}: {destination.RateLimited, destination.OfAccount, 15 * time.Minute, ""},
	{613, 1487742}:    {kind: destination.RateLimited, scope: destination.OfAccount}, // by the score, see waitOf
	{613, 5044001}:    {destination.RateLimited, destination.OfAccount, time.Second, ""},
	{613, 1996}:       {destination.RateLimited, destination.OfAccount, 15 * time.Minute, ""},

	{10, anySubcode}:   {destination.Misconfigured, destination.OfAccount, 0, grantRights},
	{100, anySubcode}:  {destination.Misconfigured, destination.OfAudience, 0, reportBug},
	{100, 33}:          {destination.Misconfigured, destination.OfAudience, 0, "the audience is not there for this token: it was deleted, or the token's user has no role on the account"},
	{100, 1713098}:     {destination.Misconfigured, destination.OfAudience, 0, makeNew},
	{100, 1713228}:     {destination.Misconfigured, destination.OfAudience, 0, unflag},
	{100, 1713230}:     {destination.Misconfigured, destination.OfAudience, 0, unflag},
	{100, 1713231}:     {destination.Misconfigured, destination.OfAudience, 0, unflag},
	{100, 1713232}:     {destination.Misconfigured, destination.OfAudience, 0, unflag},
	{102, anySubcode}:  {destination.Unauthorized, destination.OfApp, 0, renewToken},
	{104, anySubcode}:  {destination.Unauthorized, destination.OfApp, 0, checkProof},
	{105, anySubcode}:  {kind: destination.TooLarge},
	{190, anySubcode}:  {destination.Unauthorized, destination.OfApp, 0, renewToken},
	{190, 459}:         {destination.Unauthorized, destination.OfApp, 0, "the token's user must log in at Facebook and do what it asks for; then renew the token"},
	{190, 464}:         {destination.Unauthorized, destination.OfApp, 0, "the token's user must log in at Facebook and do what it asks for; then renew the token"},
	{194, anySubcode}:  {destination.Misconfigured, destination.OfAudience, 0, reportBug},
	{200, anySubcode}:  {destination.Misconfigured, destination.OfAccount, 0, grantRights},
	{200, 1870034}:     {destination.Misconfigured, destination.OfAccount, 0, acceptTerms},
	{200, 1870090}:     {destination.Misconfigured, destination.OfAccount, 0, acceptTerms},
	{200, 1870047}:     {destination.Busy, destination.OfAudience, 24 * time.Hour, "the audience would get too small by this removal; add members first, or it is tried again in a day"},
	{200, 1870050}:     {destination.Misconfigured, destination.OfAudience, 0, grantRights},
	{270, anySubcode}:  {destination.Misconfigured, destination.OfAccount, 0, appReview},
	{294, anySubcode}:  {destination.Misconfigured, destination.OfAccount, 0, grantRights},
	{803, anySubcode}:  {destination.Misconfigured, destination.OfAudience, 0, "no such audience: correct its id, or clear it to have a new one created"},
	{960, anySubcode}:  {kind: destination.Transient},
	{2500, anySubcode}: {destination.Misconfigured, destination.OfAccount, 0, "correct base_url; the path is not the API's"},
	{2635, anySubcode}: {destination.Misconfigured, destination.OfAccount, 0, raiseVersion},

	{2650, anySubcode}: {destination.Misconfigured, destination.OfAudience, 0, makeNew},
	{2650, 1870144}:    {destination.Misconfigured, destination.OfAudience, 0, "the audience has 100 million members or more; add and remove instead of replacing"},
	{2650, 1870145}:    {kind: destination.Busy, scope: destination.OfAudience, wait: 5 * time.Minute},
	{2650, 1870147}:    {kind: destination.Transient, scope: destination.OfAudience},
	{2650, 1870148}:    {kind: destination.Busy, scope: destination.OfAudience, wait: 5 * time.Minute},
	{2650, 1870158}:    {kind: destination.Busy, scope: destination.OfAudience, wait: 5 * time.Minute},
	{2650, 1870159}:    {kind: destination.Busy, scope: destination.OfAudience, wait: 5 * time.Minute},

	{2654, anySubcode}:    {destination.Misconfigured, destination.OfAccount, 0, "Meta refuses to create the audience; read its words"},
	{2654, 1713092}:       {destination.Misconfigured, destination.OfAccount, 0, grantRights},
	{2654, 1713007}:       {destination.Misconfigured, destination.OfAudience, 0, "the same lookalike exists; use that one"},
	{2655, anySubcode}:    {destination.Misconfigured, destination.OfAccount, 0, acceptTerms},
	{2656, anySubcode}:    {destination.Misconfigured, destination.OfAudience, 0, "delete the lookalikes made from this audience first"},
	{2663, anySubcode}:    {destination.Misconfigured, destination.OfAccount, 0, acceptTerms},
	{2664, anySubcode}:    {destination.Misconfigured, destination.OfAccount, 0, acceptTerms},
	{1487301, anySubcode}: {destination.Misconfigured, destination.OfAudience, 0, grantRights},
	{1487366, anySubcode}: {destination.Gone, destination.OfAudience, 0, deleted},
	{1870065, anySubcode}: {destination.Misconfigured, destination.OfAudience, 0, "Meta refuses this audience; read its words"},
	{1870092, anySubcode}: {destination.Misconfigured, destination.OfAudience, 0, "Meta refuses this audience; read its words"},
}

// useCaseLimits are the throttling codes of use cases (4.3); 80003 is that of custom audiences.
var useCaseLimits = map[int]bool{80000: true, 80001: true, 80002: true, 80003: true, 80004: true, 80005: true, 80006: true,
	80008: true, 80009: true, 80014: true}

// classify decides by code and subcode, in the order of 4.2; by words only where the sheet leaves nothing else.
func classify(e *graphError, status int, b budget) error {
	v := verdictOf(e, status)
	code := strconv.Itoa(e.Code)
	if e.Subcode != 0 {
		code += "/" + strconv.Itoa(e.Subcode)
	}
	words := destination.Clean(e.UserTitle + " " + e.UserMessage + " " + e.Message)
	return &destination.Error{Kind: v.kind, Scope: v.scope, RetryAfter: waitOf(e, v, b), Code: code,
		RequestID: destination.Clean(e.TraceID), Remedy: v.remedy, Err: errors.New(cmp.Or(words, fmt.Sprintf("HTTP %d", status)))}
}

func verdictOf(e *graphError, status int) verdict {
	if useCaseLimits[e.Code] {
		return verdict{destination.RateLimited, destination.OfAccount, 5 * time.Minute, ""}
	}
	if e.Code == 100 && strings.Contains(e.Message, "appsecret_proof") {
		return verdict{destination.Unauthorized, destination.OfApp, 0, checkProof}
	}
	if e.Code < 0 { // says nothing; the subcode alone may
		for key, v := range verdicts {
			if key[1] == e.Subcode && key[1] > 99 {
				return v
			}
		}
	}
	v, known := verdicts[[2]int{e.Code, e.Subcode}]
	if !known {
		v, known = verdicts[[2]int{e.Code, anySubcode}]
		known = known && (!e.IsTransient || v.kind == destination.RateLimited || v.kind == destination.Unauthorized)
	}
	switch {
	case known:
		return v
	case e.IsTransient || status >= http.StatusInternalServerError:
		return verdict{kind: destination.Transient}
	case e.Code >= 200 && e.Code <= 299:
		return verdict{destination.Misconfigured, destination.OfAccount, 0, grantRights}
	}
	return verdict{destination.Misconfigured, destination.OfAudience, 0, "an error the contract does not list; read Meta's words"}
}

// waitOf is the wait of 5.4, the first that applies. Jitter and doubling are delivery's.
func waitOf(e *graphError, v verdict, b budget) time.Duration {
	byScore := (e.Code == 17 && e.Subcode == 2446079) || (e.Code == 613 && e.Subcode == 1487742)
	switch {
	case v.kind != destination.RateLimited:
		return v.wait
	case b.regain > 0:
		return b.regain
	case byScore && b.reset > 0:
		return b.reset
	case b.retryAfter > 0:
		return b.retryAfter
	case byScore && b.fullTier:
		return time.Minute
	case byScore:
		return 5 * time.Minute
	}
	return v.wait
}
