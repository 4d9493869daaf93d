package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// takeTerminal makes a new terminal the standard input of this process. Nobody sits at it, but "exit" has been typed already.
//
// The library looks for one: a ClickHouse that is not spoken to in person ends its process for an exception that a connection does not catch
// (KillingErrorHandler of clickhouse-local), so that one client with a wrong password, or one killed in the middle of an answer, would end the
// database of all others. One that believes in a person says what went wrong in its log and closes that connection, as clickhouse-server does.
// It does not end when its queries fail, though, as they do when the port is taken, but prompts for the next one: hence "exit".
func takeTerminal() error {
	keyboard, err := syscall.Open("/dev/ptmx", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0) // never closed: that would hang up
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	var number, locked int32
	_, typing := syscall.Write(keyboard, []byte("exit\n"))
	err = errors.Join(control(keyboard, syscall.TIOCGPTN, &number), control(keyboard, syscall.TIOCSPTLCK, &locked), typing)
	if err != nil {
		return fmt.Errorf("make a terminal: %w", err)
	}
	path := "/dev/pts/" + strconv.Itoa(int(number))
	terminal, err := syscall.Open(path, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return syscall.Dup3(terminal, 0, 0)
}

func control(file int, request uintptr, argument *int32) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(file), request, uintptr(unsafe.Pointer(argument))); errno != 0 {
		return errno
	}
	return nil
}
