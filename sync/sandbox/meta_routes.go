package sandbox

// metaRoute is one method on one edge of a kind of node.
type metaRoute struct {
	handle func(*Meta, *metaCall) (any, error)
	fields []string // parameters it takes besides the common ones
	adds   bool     // counted in the ad-account score instead of the custom-audience budget
	writes bool
}

var (
	userFields = []string{"payload", "session", "namespace"}
	// commonFields may come with any call; Meta's SDK for Node repeats the node's id in every body.
	commonFields = []string{"access_token", "appsecret_proof", "appsecret_time", "method", "fields", "pretty", "debug", "locale", "id"}
	metaRoutes   = map[string]metaRoute{
		"GET act":                       {handle: (*Meta).readAccount},
		"POST act/customaudiences":      {handle: (*Meta).createAudience, fields: createFields, writes: true},
		"GET act/customaudiences":       {handle: (*Meta).listAudiences, fields: []string{"limit", "after", "before"}},
		"DELETE act/usersofanyaudience": {handle: (*Meta).removeFromAny, fields: userFields, writes: true},
		"GET audience":                  {handle: (*Meta).readAudience},
		"POST audience":                 {handle: (*Meta).updateAudience, fields: updateFields, writes: true},
		"DELETE audience":               {handle: (*Meta).deleteAudience, writes: true},
		"POST audience/users":           {handle: (*Meta).addUsers, fields: userFields, adds: true, writes: true},
		"DELETE audience/users":         {handle: (*Meta).removeUsers, fields: userFields, writes: true},
		"POST audience/usersreplace":    {handle: (*Meta).replaceUsers, fields: userFields, adds: true, writes: true},
		"GET audience/sessions":         {handle: (*Meta).listSessions, fields: []string{"session_id"}},
	}
)
