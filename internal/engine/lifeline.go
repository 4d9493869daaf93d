package engine

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

const (
	// clickhouseArg0 is the C-level argv[0] of the ClickHouse child: the library looks at it to know which program it is to be.
	clickhouseArg0 = "clickhouse"
	// guardArg0 is the argv[0] of the process that watches the lifeline for a program that cannot do so itself.
	guardArg0 = "kohorta-guard"
	// libraryEnv names the library to the ClickHouse child.
	libraryEnv = "KOHORTA_CHDB_CHILD"
	// lifelineFD is the pipe every child inherits; it reads end of file when the parent is gone.
	lifelineFD = 3
)

// RunChild must be the first call of main, and of every test binary that starts engines. In a process that was started as an engine's child
// it does that child's work and never returns; in every other process it does nothing.
func RunChild() {
	switch library := os.Getenv(libraryEnv); {
	case os.Args[0] == clickhouseArg0 && library != "":
		go func() { awaitOrphaned(); os.Exit(1) }()
		if err := takeTerminal(); err != nil {
			fmt.Fprintln(os.Stderr, "without a terminal a client that breaks off can end ClickHouse:", err)
		}
		fmt.Fprintln(os.Stderr, "the ClickHouse library ended:", serveLibrary(library, os.Args))
		os.Exit(1)
	case os.Args[0] == guardArg0:
		os.Exit(guard(os.Args[1:]))
	}
}

// awaitOrphaned returns when the process that started this one is gone.
func awaitOrphaned() {
	lifeline := os.NewFile(lifelineFD, "lifeline")
	for {
		if _, err := lifeline.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}

// serveLibrary runs ClickHouse with the C arguments args inside this process, and returns only on failure.
func serveLibrary(path string, args []string) error {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	entry, err := purego.Dlsym(library, "chdb_query_cmdline")
	if err != nil {
		return fmt.Errorf("%s is not the library of @chdb: %w", path, err)
	}
	var run func(argc int32, argv unsafe.Pointer) uintptr
	purego.RegisterFunc(&run, entry)

	var pins runtime.Pinner
	defer pins.Unpin()
	argv := make([]*byte, len(args)+1)
	for i, arg := range args {
		argv[i] = &append([]byte(arg), 0)[0]
		pins.Pin(argv[i])
	}
	run(int32(len(args)), unsafe.Pointer(&argv[0]))
	return fmt.Errorf("see the lines above")
}

// guard runs a program until it ends or this process is orphaned, and returns its exit code. Signals for the process group are left to the program.
func guard(args []string) int {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { awaitOrphaned(); _ = cmd.Process.Kill() }()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}
