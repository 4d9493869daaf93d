//go:build unix && !linux

package engine

import (
	"os/exec"
	"syscall"
)

// tie puts a guard before a program that does not watch the lifeline itself, as nothing but Linux kills children with their parent; and it keeps
// the terminal's Ctrl-C from the child: the parent stops it when it is time.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	self := executable()
	if cmd.Path != self {
		cmd.Args = append([]string{guardArg0, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = self
	}
}
