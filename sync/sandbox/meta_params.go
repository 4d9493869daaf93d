package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// params are the fields of a call, whichever way they came. Strings are bare, objects and arrays JSON text.
type params map[string]string

// readParams reads the query and a body of form, multipart or JSON. The body wins over the query.
func readParams(req *request) (params, error) {
	p := params{}
	query, err := url.ParseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, metaParameter("(#100) The query string is malformed", "query")
	}
	p.take(query)
	if len(req.body) == 0 {
		return p, nil
	}
	media, args, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	switch {
	case media == "application/json":
		return p, p.takeJSON(req.body)
	case media == "multipart/form-data" && req.Method != http.MethodDelete:
		return p, p.takeMultipart(multipart.NewReader(bytes.NewReader(req.body), args["boundary"]))
	case media == "application/x-www-form-urlencoded" && req.Method != http.MethodDelete:
		form, err := url.ParseQuery(string(req.body))
		if err != nil {
			return nil, metaParameter("(#100) The form is malformed", "body")
		}
		p.take(form)
		return p, nil
	}
	return nil, metaParameter("(#100) Unsupported content type of a "+req.Method+": "+media, "body")
}

func (p params) take(values url.Values) {
	for name, v := range values {
		p[name] = v[0]
	}
}

func (p params) takeJSON(body []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return metaParameter("(#100) The body is no JSON object", "body")
	}
	for name, raw := range fields {
		if raw[0] != '"' {
			p[name] = string(raw)
			continue
		}
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return metaParameter("(#100) The body is no JSON object", name)
		}
		p[name] = text
	}
	return nil
}

func (p params) takeMultipart(parts *multipart.Reader) error {
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return metaParameter("(#100) The multipart body is malformed", "body")
		}
		var text strings.Builder
		if _, err := io.Copy(&text, part); err != nil {
			return metaParameter("(#100) The multipart body is malformed", "body")
		}
		p[part.FormName()] = text.String()
	}
}

// decodeStrict reads JSON text into v and refuses unknown members and anything after the value.
func decodeStrict(text string, v any) error {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the value")
	}
	return nil
}
