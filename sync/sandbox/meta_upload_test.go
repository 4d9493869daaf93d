package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzUpload feeds any text to the payload reader: it refuses, or every row is good, with a canonical text that reads back, or
// has a reason and a sample.
func FuzzUpload(f *testing.F) {
	for _, seed := range []string{
		`{"schema":["EXTERN_ID","EMAIL","PHONE"],"is_raw":true,"data":[["u#1","` + annHash + `",""],["","","x"]]}`,
		`{"schema":"EMAIL_SHA256","data":["` + annHash + `",1,null,{}]}`,
		`{"schema":["MADID","LOOKALIKE_VALUE","DATA_PROCESSING_OPTIONS"],"data":[["38400000-8cf0-11bd-b23e-10b96e40000d",1e400,["LDU"]],["",-0,[[]]]]}`,
		`{"schema":["UID"],"app_ids":["1"],"data":[[12],["12"],["1.5"],[1e3]]}`,
		`null`, `{"schema":null,"data":[[]]}`, `{"schema":["EMAIL"],"data":null}`, "{\"schema\":[\"EXTERN_ID\"],\"data\":[[\"\\u0000|=#\"]]}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseUpload(text)
		if err != nil {
			require.Nil(t, u)
			require.ErrorAs(t, err, new(*metaError))
			return
		}
		require.Len(t, u.rows, len(u.cells))
		for i, row := range u.rows {
			if row.reason != "" {
				require.NotEmpty(t, jsonText(u.cells[i]))
				continue
			}
			read := newRowID(row.pii, row.extern).row()
			require.Equal(t, row.extern, read.ExternID)
			require.True(t, row.extern != "" || len(read.Keys) > 0)
			for key, value := range read.Keys {
				require.Contains(t, u.schema, key)
				require.NotEmpty(t, value)
			}
		}
	})
}
