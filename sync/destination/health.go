package destination

// Renewable is a Destination that knows when its secrets are replaced.
type Renewable interface {
	// Secrets rises when a secret has become another one, or has become good or bad, since the last call.
	Secrets() (generation uint64)
}

// Foreseeing is a Destination that can tell what will stop it some day.
type Foreseeing interface {
	// Warnings say in words what a person should do, in time; none while nothing is known to come.
	Warnings() []string
}
