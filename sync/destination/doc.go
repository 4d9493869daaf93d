// Package destination is the contract between delivery and a connector: what a platform carries, which requests rows
// become, what the platform said of each. A connector classifies; delivery retries, waits and isolates bad rows. Nothing
// here names a vendor.
package destination
