// Package tabular reads files of rows, CSV or NDJSON, gzip or not, as events. A [Mapping] says which column, or which
// expression over the columns, becomes which field of the event. A row that cannot become an event is handed on with its line
// and the reason; it never stops the file. The package knows no server and no wire format.
package tabular
