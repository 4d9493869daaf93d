// Package run is how long work becomes an [audience.Run]: started at once, its progress kept and shown to whoever watches,
// cancelled on request, at most one at a time for a kind and subject, and kept as history. What the work is, it does not
// know; where runs are kept, it is told.
package run
