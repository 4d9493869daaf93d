// Package server is the gRPC surface: messages come in, are checked and become the nouns of internal/audience; what the
// rooms answer goes out again, their errors as statuses with details. What it needs from the rooms stands in ports.go. It
// knows no driver, no key, no SQL and no mathematics.
package server
