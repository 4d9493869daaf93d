// Package segmenter turns events into membership: it trains models, evaluates segments and keeps the projection that reads
// come from in step with the log.
//
// Everything that can change membership ends in [Segmenter.Evaluate]: all users or some, at an instant. Its steps are those
// of docs/architecture.md: compute, compare, append to the log (durable), project. What a model or an expression means is
// known to the rooms below (rfm, kmeans, expr); which database and which cache answer is known to nobody here.
package segmenter
