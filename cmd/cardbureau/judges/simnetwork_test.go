package judges

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cardbureau/cardio/uicc"
	"cardbureau/cardio/virtual/nvm"
	"cardbureau/cardio/virtual/rack"
	"cardbureau/cardio/virtual/usim"
	"cardbureau/cardio/virtual/vpcd"
	profiles "cardbureau/firmware-profiles"
	"cardbureau/personalization/profile"
)

// subscription is what a blank is programmed with.
var subscription = uicc.Subscription{
	ICCID: "8998350000000000011", IMSI: "432350000000001", MNCDigits: 2, SPN: "Irancell", ACC: 2,
	K: uicc.Secret("a key of 16 byte"), OPc: uicc.Secret("an OPc, 16 bytes"), PIN1: uicc.Secret("0000"),
}

// programmedUSIM makes a blank and programs it as sim program does.
func programmedUSIM(m *nvm.Memory) error {
	ctx := context.Background()
	set, err := profile.Load(profiles.FS)
	if err != nil {
		return err
	}
	sim, err := usim.New(usim.Config{Memory: m, Profile: &usim.Profile{Kind: usim.DelegatedBlank, ICCID: subscription.ICCID, ADM1: "12345678"}})
	if err != nil {
		return err
	}
	card, err := uicc.Open(ctx, usim.Terminal{Card: sim})
	if err != nil {
		return err
	}
	_, err = card.Program(ctx, set.SIMs["sysmocom-sja2"], []byte("12345678"), subscription)
	return err
}

// home is an operator's authentication centre: osmo-auc-gen behind the socket that
// hostapd asks for vectors (src/eap_server/eap_sim_db.c of hostapd).
type home struct {
	t      *testing.T
	socket *net.UnixConn

	mu    sync.Mutex
	sqn   uint64 // that was used last
	asked []string
}

func newHome(t *testing.T, path string) *home {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t: t, socket: socket}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.answer()
	}()
	t.Cleanup(func() { socket.Close(); <-ended })
	return h
}

// answer answers AKA-REQ-AUTH with a vector, and has AKA-AUTS set the counter.
func (h *home) answer() {
	buffer := make([]byte, 1024)
	for {
		n, from, err := h.socket.ReadFromUnix(buffer)
		if err != nil {
			return
		}
		words := strings.Fields(string(buffer[:n]))
		h.mu.Lock()
		h.asked = append(h.asked, strings.Join(words[:min(2, len(words))], " "))
		switch {
		case len(words) == 2 && words[0] == "AKA-REQ-AUTH":
			h.sqn += 1 << 5 // the next number of the same index
			v := h.generate("--sqn", strconv.FormatUint(h.sqn, 10))
			_, err = h.socket.WriteToUnix(fmt.Appendf(nil, "AKA-RESP-AUTH %s %s %s %s %s %s", words[1], v["RAND"], v["AUTN"], v["IK"], v["CK"], v["RES"]), from)
		case len(words) == 4 && words[0] == "AKA-AUTS":
			v := h.generate("--rand", words[3], "--auts", words[2])
			h.sqn, err = strconv.ParseUint(v["SQN.MS"], 10, 48)
		}
		h.mu.Unlock()
		if err != nil {
			h.t.Errorf("%s: %v", words[0], err)
		}
	}
}

// generate asks osmo-auc-gen.
func (h *home) generate(args ...string) map[string]string {
	args = append([]string{"--3g", "--algorithm", "milenage", "--amf", "8000", "--ind-len", "5", "--key", hex.EncodeToString(subscription.K), "--opc", hex.EncodeToString(subscription.OPc)}, args...)
	out, err := exec.Command("osmo-auc-gen", args...).Output()
	if err != nil {
		h.t.Errorf("osmo-auc-gen: %v", err)
	}
	said := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			said[name] = strings.TrimSpace(value)
		}
	}
	return said
}

// set says which number was used last.
func (h *home) set(sqn uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sqn, h.asked = sqn, nil
}

// was is what the centre was asked since set.
func (h *home) was() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// authenticator runs hostapd as the server of EAP-AKA (RFC 4187), without a radio, and
// returns the port of its RADIUS.
func authenticator(t *testing.T, dir string) (port string) {
	t.Helper()
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(free.LocalAddr().String())
	free.Close()
	for name, text := range map[string]string{
		"users": "\"0\"* AKA\n", "clients": "127.0.0.1 secret\n",
		"hostapd.conf": "interface=lo\ndriver=none\nieee8021x=1\neap_server=1\neap_user_file=" + dir + "/users\neap_sim_db=unix:" + dir + "/centre\n" +
			"radius_server_clients=" + dir + "/clients\nradius_server_auth_port=" + port + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("hostapd", filepath.Join(dir, "hostapd.conf"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	ended := make(chan struct{})
	t.Cleanup(func() { cmd.Process.Kill(); <-ended; _ = cmd.Wait() })
	var said []string
	ready := false
	for !ready && lines.Scan() {
		said = append(said, lines.Text())
		ready = strings.Contains(lines.Text(), "AP-ENABLED")
	}
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	if !ready {
		t.Fatalf("hostapd: %s", strings.Join(said, "\n"))
	}
	return port
}

// TestWPASupplicantJoinsByTheSIM has wpa_supplicant's reader of USIMs find the USIM of a
// software SIM that was programmed, over PC/SC, give its PIN1, read its subscription, and
// join a network by it (EAP-AKA), whose server is hostapd and whose authentication centre
// is Osmocom's; and once more where that centre's counter was lost.
func TestWPASupplicantJoinsByTheSIM(t *testing.T) {
	needCommand(t, "eapol_test", "eapoltest")
	needCommand(t, "hostapd", "hostapd")
	needCommand(t, "osmo-auc-gen", "libosmocore-utils")
	put := func(cards string) (rack.Request, error) {
		return rack.Request{Op: "insert", Card: subscription.ICCID}, rack.NewCard(cards, rack.SIMs, subscription.ICCID, programmedUSIM)
	}
	reader, env := cardInReader(t, put, func(m *nvm.Memory) (vpcd.Card, error) { return usim.New(usim.Config{Memory: m}) })
	dir, err := os.MkdirTemp("", "cb-eap-") // short: a socket's path is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	centre := newHome(t, filepath.Join(dir, "centre"))
	port := authenticator(t, dir)
	network := filepath.Join(dir, "network.conf")
	if err := os.WriteFile(network, []byte("network={\n key_mgmt=IEEE8021X\n eap=AKA\n pcsc=\"\"\n pin=\"0000\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// TS 23.003 clause 19.3.2 with RFC 4187: the realm has the network code of EF.AD's length.
	const identity = "0432350000000001@wlan.mnc035.mcc432.3gppnetwork.org"
	looks := time.NewTicker(100 * time.Millisecond)
	defer looks.Stop()
	request, auts := "AKA-REQ-AUTH "+subscription.IMSI, "AKA-AUTS "+subscription.IMSI
	for _, c := range []struct {
		name  string
		sqn   uint64
		asked []string
	}{
		{"in step", 1 << 20, []string{request}},
		{"counter lost", 0, []string{request, auts, request}},
	} {
		centre.set(c.sqn)
		out, status := "", 0
		for out == "" || strings.Contains(out, "No smart card inserted") { // PC/SC looks into a reader every 0.4 s
			<-looks.C
			out, _, status = ask(t, dir, env, "eapol_test", "-c"+network, "-a127.0.0.1", "-p"+port, "-ssecret", "-t30", "-R"+reader)
		}
		if status != 0 {
			t.Fatalf("%s: eapol_test is not content (exit status %d)\n%s", c.name, status, out)
		}
		for _, want := range []string{
			"SCARD: 3G USIM app found from EF_DIR record 1", "PIN1 needed for SIM access (retry counter=3)", "SCARD: MNC length=2",
			identity, "SUCCESS",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: it does not say %s", c.name, want)
			}
		}
		if got := centre.was(); !slices.Equal(got, c.asked) {
			t.Errorf("%s: the centre was asked %v", c.name, got)
		}
	}
}
