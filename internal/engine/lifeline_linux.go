package engine

import (
	"os/exec"
	"syscall"
)

// tie lets the kernel kill the child with the thread that starts it, and keeps the terminal's Ctrl-C from it: the parent stops it when it is time.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
