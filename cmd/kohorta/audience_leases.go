package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/kohorta/kohorta/internal/audience"
	"github.com/kohorta/kohorta/internal/lease"
	"github.com/kohorta/kohorta/sync/delivery"
)

// audienceLeases give audiences to this process. Of the audiences of an exclusive group one process has all it works on:
// that nobody is in two of them is looked after within a process.
type audienceLeases struct {
	*lease.Leases

	mu     sync.Mutex
	groups map[string]*groupLease // held here
}

// groupLease is shared by the audiences of a group.
type groupLease struct {
	*lease.Lease
	sharers int
}

// Take takes an audience, and its group.
func (l *audienceLeases) Take(ctx context.Context, a audience.Audience) (delivery.Lease, error) {
	group, leaveGroup, err := l.join(ctx, a.ExclusiveGroup)
	if err != nil {
		return nil, fmt.Errorf("audiences/%s: %w", a.ID, err)
	}
	taken, err := l.Leases.Take(ctx, "audience/"+strconv.FormatUint(uint64(a.Number), 10))
	if err != nil {
		leaveGroup()
		return nil, fmt.Errorf("audiences/%s: %w", a.ID, err)
	}
	if group == nil {
		return taken, nil
	}
	return &groupedLease{taken, group, leaveGroup}, nil
}

// join takes a group, unless this process has it already; nil for no group.
func (l *audienceLeases) join(ctx context.Context, name string) (*lease.Lease, func(), error) {
	if name == "" {
		return nil, func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.groups[name]
	if held != nil && held.Check() != nil { // whoever shares it finds out by himself
		held = nil
	}
	if held == nil {
		taken, err := l.Leases.Take(ctx, "group/"+name)
		if err != nil {
			return nil, nil, err
		}
		held = &groupLease{Lease: taken}
		l.groups[name] = held
	}
	held.sharers++
	return held.Lease, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if held.sharers--; held.sharers > 0 {
			return
		}
		if l.groups[name] == held {
			delete(l.groups, name)
		}
		held.Release()
	}, nil
}

// groupedLease is certain only while that of the group is, too.
type groupedLease struct {
	*lease.Lease
	group      *lease.Lease
	leaveGroup func()
}

// Check is nil while both leases are certain.
func (l *groupedLease) Check() error { return errors.Join(l.Lease.Check(), l.group.Check()) }

// Abandon ends the audience's lease alone without giving it back.
func (l *groupedLease) Abandon() {
	l.Lease.Abandon()
	l.leaveGroup()
}

// Release gives both back.
func (l *groupedLease) Release() {
	l.Lease.Release()
	l.leaveGroup()
}
