package tiktok

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/kohorta/kohorta/sync/destination"
)

// Apply sends one batch to the mapping endpoint (2.2). The platform judges a batch as a whole: a code of 0 confirms every
// row of it.
func (c *Client) Apply(ctx context.Context, audienceID string, b destination.Batch) (destination.Result, error) {
	if (b.Op != destination.Add && b.Op != destination.Remove) || len(b.Rows) == 0 || len(b.Schema) != 1 || !idShape.MatchString(audienceID) {
		return destination.Result{}, &destination.Error{Kind: destination.Misconfigured, Scope: destination.OfRequest,
			Err: errors.New("a batch needs an operation, one scheme, rows and the number of an audience")}
	}
	body := appendPayload(make([]byte, 0, envelopeBytes+len(b.Rows)*rowBytes), c.account, audienceID, &b)
	var data json.RawMessage
	said, err := c.call(ctx, http.MethodPost, "segment/mapping/", nil, body, &data)
	result := destination.Result{RequestID: said.requestID}
	if err != nil {
		return result, ofRows(err)
	}
	if said.code == partlySuccessful {
		c.log.Warn("batch partly successful", "request_id", said.requestID, "rows", len(b.Rows))
		result.Unnamed = 1
	}
	return result, nil
}
