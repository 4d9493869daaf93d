// Package expr turns segment expressions, written in CEL, into ClickHouse SQL.
//
// What comes in is the text of expressions such as
//
//	rfm.r >= 4 && count("purchase", "30d") >= 2 && !did("visit", "7d")
//
// What goes out is one query for all of them, for everybody or for given users: Parse checks an expression and lowers it to a small
// typed tree, Compile orders the segments and composes the SQL, and Expr.Eval says the same of one user's history, slowly and obviously, in
// Go: tests hold the two against each other. docs/expressions.md describes the language.
//
// Text a user wrote never becomes part of the SQL: strings travel as query parameters, numbers as literals written here.
// The package knows names of tables and columns (tables.go) but no connection and no clock.
package expr
