package warehouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kohorta/kohorta/internal/audience"
)

// Exception codes of ClickHouse (src/Common/ErrorCodes.cpp) that callers must tell apart.
const (
	codeSlowRead       = 159 // TIMEOUT_EXCEEDED
	codeTooManyQueries = 202
	codeSocketTimeout  = 209
	codeNetwork        = 210
	codeMemory         = 241
	codeReadOnly       = 242
	codeNoSpace        = 243
	codeTooManyParts   = 252
	codeCancelled      = 394
	codeShuttingDown   = 236 // ABORTED
	codeAuthentication = 516
)

// translated turns a driver's error into a kind callers branch on. ctx is the caller's: when it has ended, that is the
// error, whatever the driver made of it.
func translated(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ended := context.Cause(ctx); ended != nil {
		return ended
	}
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		switch exception.Code {
		case codeMemory:
			return fmt.Errorf("clickhouse refused the memory a query needs; give it more memory or let fewer runs work at once: %w", errors.Join(audience.ErrExhausted, err))
		case codeNoSpace:
			return unavailable(30*time.Second, fmt.Errorf("its disk is full, free some space: %w", err))
		case codeTooManyParts, codeTooManyQueries, codeReadOnly:
			return unavailable(5*time.Second, err)
		case codeSlowRead, codeSocketTimeout, codeNetwork, codeCancelled, codeShuttingDown:
			return unavailable(time.Second, err)
		case codeAuthentication:
			return fmt.Errorf("clickhouse refused the user or password; see dsn and password_file: %w", err)
		}
		return err
	}
	var network net.Error
	for _, lost := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, context.DeadlineExceeded,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
		clickhouse.ErrAcquireConnTimeout, clickhouse.ErrAcquireConnNoAddress, clickhouse.ErrConnectionClosed,
	} {
		if errors.Is(err, lost) {
			return unavailable(time.Second, err)
		}
	}
	if errors.As(err, &network) {
		return unavailable(time.Second, err)
	}
	return err
}

func unavailable(retryAfter time.Duration, err error) error {
	return &audience.UnavailableError{What: "clickhouse", RetryAfter: retryAfter, Err: err}
}
