package sandbox

import (
	"encoding/json"
	"errors"
	"mime"
	"net/url"
	"slices"
	"strings"
)

// decodeBody reads a JSON body into v: known fields only, ids as strings.
func (c *tikTokCall) decodeBody(v any) error {
	if media, _, _ := mime.ParseMediaType(c.Header.Get("Content-Type")); media != "application/json" {
		return refusal(40002, "Content-Type must be application/json")
	}
	err := decodeStrict(string(c.body), v)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return refusal(40002, "%s: Not a valid %s.", wrong.Field, wrong.Type.Kind())
	} else if err != nil {
		return refusal(40002, "Invalid JSON: %v", err)
	}
	return nil
}

// query reads the query of a GET; names are those it may have.
func (c *tikTokCall) query(names ...string) (url.Values, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, refusal(40002, "The query string is malformed")
	}
	for name, values := range q {
		if !slices.Contains(names, name) {
			return nil, refusal(40002, "%s: Unknown field.", name)
		}
		if len(values) > 1 {
			return nil, refusal(40002, "%s: Sent more than once; arrays go in one parameter as JSON.", name)
		}
	}
	return q, nil
}

// required names the fields that are missing, in the words of the platform. It takes pairs of name and presence.
func required(fields ...requiredField) error {
	var missing []string
	for _, f := range fields {
		if !f.present {
			missing = append(missing, f.name)
		}
	}
	if missing == nil {
		return nil
	}
	return refusal(40002, "Missing required field(s): %s.", strings.Join(missing, ", "))
}

type requiredField struct {
	name    string
	present bool
}

// checkIDs wants ids of digits only.
func checkIDs(name string, ids ...string) error {
	for _, id := range ids {
		if id == "" || strings.Trim(id, "0123456789") != "" {
			return refusal(40002, "%s: Not a valid id, digits expected.", name)
		}
	}
	return nil
}
