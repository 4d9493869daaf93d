// Package server is the gRPC surface. Messages are checked and become the nouns of internal/audience; results become messages
// again, and errors statuses with details. What it needs from other packages is in ports.go. It knows no driver, no key, no
// SQL and no mathematics.
package server
