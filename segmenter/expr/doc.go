// Package expr turns segment expressions, written in CEL, into ClickHouse SQL, and into functions in Go.
//
// What comes in is the text of expressions such as
//
//	rfm.r >= 4 && count("purchase", "30d") >= 2 && !did("visit", "7d")
//
// Parse checks an expression and lowers it to a small typed tree, Compile orders the segments. Three say what they mean, and tests hold them
// against one another: Program.Query is one query for all segments and everybody; Program.At is the same for a few users, in Go, from excerpts
// of their histories; Expr.Eval is the definition, slow and obvious, of one user's history. docs/expressions.md describes the language.
//
// Text a user wrote never becomes part of the SQL: strings travel as query parameters, numbers as literals written here.
// The package knows names of tables and columns (tables.go) but no connection and no clock.
package expr
