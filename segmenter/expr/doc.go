// Package expr turns segment expressions, written in CEL, into ClickHouse SQL, and into functions in Go.
//
// What comes in is the text of expressions such as
//
//	rfm.r >= 4 && count("purchase", "30d") >= 2 && !did("visit", "7d")
//
// Parse checks an expression and lowers it to a small typed tree; Compile orders the segments. There are three evaluators, which
// tests compare: Program.Query is one query for all segments and everybody; Program.At does the same in Go for a few users, from
// excerpts of their histories; Expr.Eval is the definition, slow and obvious, for one user's history. docs/expressions.md
// describes the language.
//
// Text a user wrote never becomes part of the SQL: strings travel as query parameters, numbers as literals written here.
// The package knows names of tables and columns (in sql_*.go) but no connection and no clock.
package expr
