package audience

// Query is a SQL statement a room has composed and another runs. Values never stand in the text: SQL names them as
// ClickHouse query parameters, {name:Type}, and Params holds them in Go form.
type Query struct {
	SQL    string
	Params map[string]any
}
