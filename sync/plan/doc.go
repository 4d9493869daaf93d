// Package plan says what a sync of an audience would do: users about whom target and ledger may disagree come in, a step
// for each and the sum of them go out, with the reasons for which a person should look first. It is pure and knows no
// vendor.
package plan
