package destination

import "context"

// Eraser is a Destination that can forget people in all its audiences at once, those this service did not make included.
type Eraser interface {
	// Erase sends one request with a batch that Split made of rows to Remove. Repeating it is harmless. A replacement under
	// way may bring the people back: erase again after it.
	Erase(ctx context.Context, b Batch) (Result, error)
}
