package pcscd

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// tools are the installed parts.
type tools struct {
	pcscd      string   // the program
	options    []string // that its version wants
	driver     string   // vpcd's driver file
	usbDrivers string   // folder that pcscd searches for USB readers
}

// findTools looks where distributions put them, and where a vpcd
// configuration says.
func findTools() (tools, error) {
	var t tools
	for _, p := range []string{"/usr/sbin/pcscd", "/usr/local/sbin/pcscd", "/sbin/pcscd"} {
		if _, err := os.Stat(p); err == nil {
			t.pcscd = p
			break
		}
	}
	if t.pcscd == "" {
		var err error
		if t.pcscd, err = exec.LookPath("pcscd"); err != nil {
			return tools{}, ErrNotInstalled
		}
	}
	var candidates []string
	if b, err := os.ReadFile("/etc/reader.conf.d/vpcd"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 2 && f[0] == "LIBPATH" {
				candidates = append(candidates, f[1])
			}
		}
	}
	for _, folder := range []string{"/usr/lib/pcsc", "/usr/lib64/pcsc", "/usr/lib/*/pcsc", "/usr/local/lib/pcsc"} {
		found, _ := filepath.Glob(folder + "/drivers/serial/libifdvpcd.so*")
		candidates = append(candidates, found...)
	}
	for _, p := range candidates {
		if _, err := os.Stat(p); err == nil {
			t.driver = p
			break
		}
	}
	if t.driver == "" {
		return tools{}, ErrNotInstalled
	}
	t.usbDrivers = filepath.Dir(filepath.Dir(t.driver))
	version, _ := exec.Command(t.pcscd, "--version").CombinedOutput()
	for _, f := range strings.Fields(string(version)) {
		if v, ok := strings.CutPrefix(f, "usbdropdir="); ok {
			t.usbDrivers = v
		}
	}
	if help, _ := exec.Command(t.pcscd, "--help").CombinedOutput(); strings.Contains(string(help), "--disable-polkit") {
		t.options = append(t.options, "--disable-polkit")
	}
	return t, nil
}

// folderPrefix marks the private folders, so that only such are removed.
const folderPrefix = "cb-"

// baseFolder is where private folders are made: the temporary folder, unless
// its name is too long for sockets in it (107 bytes) or holds what pcscd's
// configuration cannot say.
func baseFolder() string {
	base := os.TempDir()
	if len(base) > 60 || strings.ContainsAny(base, " \t\n\"#") {
		return "/tmp"
	}
	return base
}

// makeFolder makes the private folder: short, because a socket's path may not
// exceed 107 bytes, and passable for other users.
func makeFolder() (string, error) {
	folder, err := os.MkdirTemp(baseFolder(), folderPrefix)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(folder, 0o711); err != nil {
		return "", err
	}
	for _, sub := range []string{"run", "readers", "drivers", "empty"} {
		p := filepath.Join(folder, sub)
		if err := os.Mkdir(p, 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(p, 0o755); err != nil { // whatever the umask
			return "", err
		}
	}
	return folder, nil
}

// driverSlots is how many readers one copy of the driver makes; the second
// listens on the port after the first.
const driverSlots = 2

// layOut copies the driver and writes a configuration for n readers. Each copy
// has a name of its own, because the driver keeps its state in static
// variables: two entries on one file would share them.
func layOut(folder string, t tools, n int) ([]Slot, error) {
	driver, err := os.ReadFile(t.driver)
	if err != nil {
		return nil, err
	}
	copies := (n + driverSlots - 1) / driverSlots
	ports, err := freePorts(copies)
	if err != nil {
		return nil, err
	}
	var slots []Slot
	for i, port := range ports {
		library := filepath.Join(folder, "drivers", fmt.Sprintf("libvpcd%d.so", i+1))
		if err := os.WriteFile(library, driver, 0o755); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("Virtual Reader %d", i+1)
		entry := fmt.Sprintf("FRIENDLYNAME \"%s\"\nDEVICENAME /dev/null:0x%X\nLIBPATH %s\nCHANNELID 0x%X\n", name, port, library, port)
		if err := os.WriteFile(filepath.Join(folder, "readers", fmt.Sprintf("reader%02d", i+1)), []byte(entry), 0o644); err != nil {
			return nil, err
		}
		for slot := range driverSlots {
			slots = append(slots, Slot{Reader: fmt.Sprintf("%s 00 %02X", name, slot), Port: port + slot})
		}
	}
	return slots[:n:n], nil
}

// Ports are taken from below the range that the system gives to outgoing
// connections, so that none of those gets in between.
const (
	lowestPort  = 20000
	highestPort = 32000
)

// freePorts finds n pairs of neighbouring free ports and returns the lower
// ones.
func freePorts(n int) ([]int, error) {
	var out []int
	taken := map[int]bool{}
	for range 1000 {
		if len(out) == n {
			return out, nil
		}
		port := lowestPort + driverSlots*rand.IntN((highestPort-lowestPort)/driverSlots)
		if !taken[port] && free(port) && free(port+1) {
			taken[port] = true
			out = append(out, port)
		}
	}
	return nil, fmt.Errorf("no free ports for virtual readers between %d and %d", lowestPort, highestPort)
}

func free(port int) bool {
	l, err := net.Listen("tcp4", ":"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// listeningPorts are the TCP ports of this machine on which someone listens.
func listeningPorts() (map[int]bool, error) {
	out := map[int]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			if name == "/proc/net/tcp6" && os.IsNotExist(err) {
				continue
			}
			return nil, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			const listen = "0A"
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[3] != listen {
				continue
			}
			_, hexPort, _ := strings.Cut(fields[1], ":")
			if port, err := strconv.ParseUint(hexPort, 16, 16); err == nil {
				out[int(port)] = true
			}
		}
		err = lines.Err()
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
