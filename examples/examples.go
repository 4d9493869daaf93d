// Package examples holds the example resources, which kohorta demo applies as they are.
package examples

import "embed"

// Files are the YAML files of this directory.
//
//go:embed *.yaml
var Files embed.FS
