package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	audiencev1 "github.com/kohorta/kohorta/proto/audience/v1"
)

// TestSegmentList: the newest expression is not shown with the members by an older one as if they belonged together.
func TestSegmentList(t *testing.T) {
	segments := []proto.Message{
		&audiencev1.Segment{Name: "segments/new", Expression: "a", Version: 1},
		&audiencev1.Segment{Name: "segments/changed", Expression: "c", Version: 3, InForceVersion: proto.Int64(1), MemberCount: proto.Int64(1234)},
		&audiencev1.Segment{Name: "segments/settled", Expression: "d", Version: 3, InForceVersion: proto.Int64(3), MemberCount: proto.Int64(0)},
		&audiencev1.Segment{Name: "segments/disabled", Expression: "e", Version: 1, Disabled: true},
	}
	var out bytes.Buffer
	require.NoError(t, kinds[1].print(newPrinter(&out, &options{}), segments))
	require.Equal(t, `name      title             member count  expression
new                    not evaluated yet  a
changed          1,234 by version 1 of 3  c
settled                                0  d
disabled                        disabled  e
`, out.String())

	out.Reset()
	require.NoError(t, kinds[1].print(newPrinter(&out, &options{output: "json"}), segments[1:2]))
	require.Regexp(t, `"member_count": ?"1234"`, out.String())
	require.Regexp(t, `"in_force_version": ?"1"`, out.String())
	require.Regexp(t, `"version": ?"3"`, out.String())
}
