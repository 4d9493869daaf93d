package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Meta stands in for the Marketing API of Meta, versions 20 to 26.
type Meta struct {
	server    *Server // its mu guards the rest
	accounts  map[string]*metaAccount
	audiences map[string]*metaAudience // deleted ones too: they answer differently from unknown ones
	app       metaAppBudget
	created   int64 // objects made so far
	traces    int64
}

// metaAccount is an ad account.
type metaAccount struct {
	id            string
	termsAccepted bool
	valueTerms    bool // those of value-based audiences are accepted, too
	externs       map[string]externMapping
	sessions      map[int64]*usersSession
	budget        metaBudget
}

// externMapping is what the account last uploaded beside an EXTERN_ID.
type externMapping struct {
	pii string
	at  time.Time
}

func (m *Meta) reset() {
	cfg := m.server.cfg.Meta
	m.accounts, m.audiences = map[string]*metaAccount{}, map[string]*metaAudience{}
	m.app = newMetaAppBudget()
	m.created, m.traces = 0, 0
	for _, id := range cfg.Accounts {
		m.accounts[id] = &metaAccount{id: id, termsAccepted: true, valueTerms: true, externs: map[string]externMapping{},
			sessions: map[int64]*usersSession{}, budget: newMetaBudget()}
	}
}

// metaCall is a request on its way through a handler.
type metaCall struct {
	*request
	now      time.Time
	version  string // that serves it
	moved    bool   // the version asked for has ended
	method   string // after the method override
	edge     string // "" for the node itself
	params   params
	upload   *upload // from the field payload, nil without
	invalid  error   // what is wrong with the parameters; told only to callers who may call
	account  *metaAccount
	audience *metaAudience // nil on account calls
}

// maxURLBytes is where long removals in the query string break.
const maxURLBytes = 64 << 10

func (m *Meta) answer(req *request) reply {
	if len(req.URL.RequestURI()) > maxURLBytes {
		return textReply(http.StatusRequestEntityTooLarge, "text/html", fmt.Sprintf(proxyPage, "413 Request Entity Too Large"))
	}
	call := &metaCall{request: req}
	route, node, err := call.parse() // the costly part, before the lock
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	call.now = m.server.now()
	var body any
	if err == nil {
		body, err = m.serve(call, route, node)
	}
	var rep reply
	if refused := (*metaError)(nil); errors.As(err, &refused) {
		rep = refused.reply(m.trace())
	} else {
		rep = jsonReply(http.StatusOK, body)
	}
	if call.version != "" {
		rep.header["Facebook-Api-Version"] = []string{call.version}
	}
	if call.moved {
		rep.header["X-Ad-Api-Version-Warning"] = []string{"The call was made on a version that has ended; it was served by " + call.version}
	}
	m.usageHeaders(call, route, rep.header)
	return rep
}

// parse reads the request without touching state.
func (c *metaCall) parse() (route metaRoute, node string, err error) {
	parts := strings.Split(strings.TrimPrefix(c.URL.Path, "/"), "/")
	if len(parts) < 2 || len(parts) > 3 || !versionForm.MatchString(parts[0]) {
		return route, "", metaSyntax("Unknown path components: " + c.URL.Path)
	}
	c.version, node = parts[0], parts[1]
	if len(parts) == 3 {
		c.edge = parts[2]
	}
	if c.params, err = readParams(c.request); err != nil {
		return route, node, err
	}
	c.method = c.Method
	if over := c.params["method"]; over != "" && c.Method == http.MethodPost {
		c.method = strings.ToUpper(over)
	}
	kind := "audience"
	if strings.HasPrefix(node, "act_") {
		kind = "act"
	}
	if c.edge != "" {
		kind += "/" + c.edge
	}
	route, ok := metaRoutes[c.method+" "+kind]
	if !ok {
		return route, node, metaSyntax(fmt.Sprintf("Unknown path components or unsupported method: %s %s", c.method, c.URL.Path))
	}
	for name := range c.params {
		if !slices.Contains(commonFields, name) && !slices.Contains(route.fields, name) {
			c.invalid = metaParameter(fmt.Sprintf("(#100) Unknown parameter %q", name), name)
			return route, node, nil
		}
	}
	if slices.Contains(route.fields, "payload") {
		c.upload, c.invalid = parseUpload(c.params["payload"])
	}
	if c.upload != nil {
		c.rows = len(c.upload.rows)
	}
	return route, node, nil
}

// serve checks version, token, node, role, budgets and parameters, in this order, and hands over. It needs mu.
func (m *Meta) serve(c *metaCall, route metaRoute, node string) (any, error) {
	err := checkVersion(c.version, c.now)
	if ended := (*metaError)(nil); m.server.cfg.Meta.AutoUpgrade && errors.As(err, &ended) && ended.Code == 2635 {
		c.version, c.moved, err = oldestLiving(c.now), true, nil
	}
	if err != nil {
		return nil, err
	}
	granted, err := m.authorise(c)
	if err != nil {
		return nil, err
	}
	if err := m.find(c, node); err != nil {
		return nil, err
	}
	if !slices.Contains(granted, c.account.id) {
		if c.audience == nil && route.writes {
			return nil, &metaError{Code: 2654, Subcode: 1713092, Message: "No write permission for the custom audiences of this ad account"}
		}
		return nil, &metaError{Code: 200, Message: "(#200) The user has no role on this ad account"}
	}
	if err := m.spend(c, route); err != nil {
		return nil, err
	}
	if c.invalid != nil {
		return nil, c.invalid
	}
	return route.handle(m, c)
}

// find sets the account, and the audience if node names one.
func (m *Meta) find(c *metaCall, node string) error {
	if id, isAccount := strings.CutPrefix(node, "act_"); isAccount {
		if c.account = m.accounts[id]; c.account == nil {
			return metaMissing(node)
		}
		return nil
	}
	a := m.audiences[node]
	if a == nil {
		return metaMissing(node)
	}
	a.settle(c.now)
	c.account, c.audience = m.accounts[a.account], a
	switch {
	case a.state == StateDeleted && c.edge == "":
		return metaMissing(node)
	case a.state == StateDeleted:
		return &metaError{Code: 1487366, Message: "The audience has been deleted"}
	case a.state == StateUnshared:
		return &metaError{Code: 1487301, Message: "The audience is not shared with this ad account"}
	case a.fresh:
		a.fresh = false
		return &metaError{Code: 803, Message: fmt.Sprintf("(#803) Some of the aliases you requested do not exist: %s", c.edge)}
	}
	return nil
}

// newID makes an object id of 18 digits.
func (m *Meta) newID() string {
	m.created++
	return strconv.FormatInt(120210000000000000+m.created, 10)
}

func (m *Meta) trace() string {
	m.traces++
	return "Sandbox" + strconv.FormatInt(m.traces, 36)
}
