// Package run turns long work into an [audience.Run]: started at once, its progress stored and shown to watchers, cancelled on
// request, one at a time for a kind and subject, and kept as history. It does not know what the work is, and is told where runs
// are stored.
package run
