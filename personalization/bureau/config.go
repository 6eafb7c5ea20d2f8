// Package bureau opens a bureau's data folder: its configuration, database,
// keys and profiles, and joins them into the services that commands and the
// API use. It holds no rule of its own: intake, preparation, line and stock do.
package bureau

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"cardbureau/personalization/custody"
	"cardbureau/personalization/intake"
	"cardbureau/personalization/record"
)

// ConfigName is the name of the configuration file in the data folder.
const ConfigName = "cardbureau.toml"

// Config is DIR/cardbureau.toml. Secrets are never in it: they come from files
// it names, or from the environment.
type Config struct {
	Environment string `toml:"environment"` // development or production
	Audience    string `toml:"audience"`
	State       string `toml:"state"` // ICAO 9303-3 code of the issuing state, 3 letters
	Station     string `toml:"station"`

	Database struct {
		URL string `toml:"url"` // empty: a private cluster in the data folder
	} `toml:"database"`

	HSM struct {
		SoftHSM  string   `toml:"softhsm"`  // folder of a private SoftHSM token; empty: another module
		Module   string   `toml:"module"`   // path of the PKCS#11 module
		Token    string   `toml:"token"`    // token label
		PINFile  string   `toml:"pin-file"` // relative to the data folder
		Sessions int      `toml:"sessions"`
		Timeout  duration `toml:"timeout"`
	} `toml:"hsm"`

	Certificates Certificates `toml:"certificates"`

	Records Records `toml:"records"`

	// Rules pick a record's product: the first that fits.
	Rules []intake.ProductRule `toml:"product"`

	Profiles struct {
		Folder    string `toml:"folder"`    // overrides the profiles that come with the program
		Signature string `toml:"signature"` // custodians' signatures over the profiles in use
	} `toml:"profiles"`

	Line struct {
		Readers         []string `toml:"readers"` // names or patterns; empty: every reader
		TransmitTimeout duration `toml:"transmit-timeout"`
		// Encoders are serial ports of stripe encoders, by the reader that they stand
		// beside.
		Encoders map[string]string `toml:"encoders"`
	} `toml:"line"`

	HTTP struct {
		Listen string `toml:"listen"`
	} `toml:"http"`

	Bank struct {
		// PANViewers are operators who see first six and last four digits of a PAN;
		// others see the last four.
		PANViewers []string `toml:"pan-viewers"`
		// Zone is the time zone in which the bank's business day begins and ends.
		Zone string `toml:"time-zone"`
	} `toml:"bank"`

	Desk struct {
		Office      string   `toml:"office"`      // code of the office whose desk this machine is
		Keyboard    bool     `toml:"keyboard"`    // PINs may be typed where the reader has no pin-pad
		Fingerprint []string `toml:"fingerprint"` // a program that compares a finger, with its arguments
		Tries       int      `toml:"tries"`       // refused visits a card and day
	} `toml:"desk"`

	SIM SIM `toml:"sim"`
}

// Certificates is what stands in the certificates that the token's keys get
// (ICAO 9303-12). Development takes invalid examples for what is empty.
type Certificates struct {
	Country      string   `toml:"country"`      // two letters (ISO 3166-1); empty: that of UTO or IRN
	Organization string   `toml:"organization"` // may be empty
	Contact      string   `toml:"contact"`      // e-mail address or URI
	CRLs         []string `toml:"crls"`         // where the CSCA's revocation list is found
}

// Records says which records are taken.
type Records struct {
	Trust       string              `toml:"trust"`      // relative to the data folder
	Custodians  []string            `toml:"custodians"` // public keys (JWK files) of whom two must have signed it
	RequireJWE  bool                `toml:"require-jwe"`
	MaxLine     int                 `toml:"max-line-bytes"`
	UniqueID    string              `toml:"unique-id-check"` // "", luhn, mod11
	BankCode    string              `toml:"bank-code"`       // three digits of the IBAN; empty: any
	PANPrefixes []string            `toml:"pan-prefixes"`
	Operators   map[string][]string `toml:"sim-operators"` // MCC and MNC: number prefixes
}

func (r *Records) rules() record.Rules {
	return record.Rules{UniqueID: r.UniqueID, BankCode: r.BankCode, PANPrefixes: r.PANPrefixes, Operators: r.Operators}
}

// duration is a time.Duration written as 30s.
type duration time.Duration

// UnmarshalText reads a Go duration.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

// defaultConfig is what init writes. The %s are environment, audience, state,
// database URL, module, token, PIN file.
const defaultConfig = `# cardbureau: how this bureau works. Unknown keys are refused.
# Secrets are never written here: they are in files named here, or in the environment.

environment = %q      # development keys and virtual cards, or production
audience = %q         # the bureau that records are made for; others are refused
state = %q            # issuing state in MRZ and certificates (ICAO 9303-3 section 5)
station = "station-1" # the machine whose readers these are

[database]
# A PostgreSQL server: postgres://user@host/database. Empty: a private cluster in this folder.
url = %q

[hsm]
softhsm = %q          # folder of a private SoftHSM token; empty: the module's own token
module = %q           # the PKCS#11 module that holds every key; empty: the installed SoftHSM
token = %q
pin-file = %q         # of another module's token; empty: the environment variable CARDBUREAU_TOKEN_PIN
sessions = 2          # one operation a session; SoftHSM does not get faster beyond 2
timeout = "30s"       # a module that does not answer for so long is restarted

[certificates]        # of the country signing CA and the document signer, see cardbureau init
country = %q
organization = %q
contact = %q
crls = [%s]

[records]
trust = "trust.json"  # registries whose signatures are accepted
custodians = [%s]       # JWK files of the custodians: two must have signed the trust file; none: development
require-jwe = %v      # production takes only records enciphered to the intake key
max-line-bytes = 524288
unique-id-check = ""  # check digit of unique ids: luhn, mod11, or none
bank-code = "015"     # Bank Sepah, in the IBAN of a record's bank part
pan-prefixes = ["589210"]
# SIM operators that are paired, each with the number prefixes set aside for it; none: any number.
sim-operators = { 43211 = [], 43235 = [] }

# A record's product: the first rule that fits. Keys: permits, min-age, max-age, bank, sim.
[[product]]
name = %q

[profiles]
folder = ""           # chips/, diversifications/, applets/ and products/ here replace those that come with the program
signature = "profiles.jws" # what two custodians have signed with cardbureau profile sign; production takes no other profiles

[line]
readers = []          # names, patterns as "ACS *" or serial numbers; empty: every reader
transmit-timeout = "20s"
# Stripe encoders (MSR605 class) beside readers: encoders = { "reader's name" = "/dev/ttyUSB0" }

[http]
listen = "127.0.0.1:8443"

[bank]
pan-viewers = []      # operators who see first six and last four digits of a PAN; others see the last four
time-zone = "Asia/Tehran" # where the bank's business day begins and ends

[desk]
office = ""           # code of the kefalat office whose desk this machine is
keyboard = true       # PINs may be typed where the reader has no pin-pad
fingerprint = []      # a program that compares a finger: gets the card number, exit status 0 fits, 1 does not
tries = 3             # refused visits for one card within a day

[sim]
limit = 3             # live SIMs a person may have
status = ""           # where a pairing's status is asked, as its record says
forms = {}            # form of the keys in SIM vendors' files, by profile: { "08.01" = "aes-gcm" }
`

// defaultProduct is what a record becomes where nothing else is said.
const defaultProduct = "identity"

// ConfigText is the commented configuration of a new data folder.
func ConfigText(production bool, audience, state, databaseURL, softHSM, module, token, pinFile string, c Certificates, custodians []string, product string) string {
	env := "development"
	if production {
		env = "production"
	}
	return fmt.Sprintf(defaultConfig, env, audience, state, databaseURL, softHSM, module, token, pinFile,
		c.Country, c.Organization, c.Contact, quoted(c.CRLs), quoted(custodians), production, product)
}

// quoted is the inside of a TOML array of strings.
func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

// LoadConfig reads DIR/cardbureau.toml.
func LoadConfig(dir string) (*Config, error) {
	name := filepath.Join(dir, ConfigName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: make a data folder with cardbureau init --data %s", name, dir)
	}
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(b)
	var at *placed
	if errors.As(err, &at) {
		return nil, fmt.Errorf("%s:%d:%d: %w", name, at.row, at.col, at.err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// placed is a mistake with its place in the text.
type placed struct {
	row, col int
	err      error
}

func (p *placed) Error() string { return p.err.Error() }

// parseConfig reads and checks a configuration.
func parseConfig(text []byte) (*Config, error) {
	var c Config
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) && len(strict.Errors) > 0 {
			row, col := strict.Errors[0].Position()
			return nil, &placed{row, col, fmt.Errorf("unknown key %q", strings.Join(strict.Errors[0].Key(), "."))}
		}
		var de *toml.DecodeError
		if errors.As(err, &de) {
			row, col := de.Position()
			return nil, &placed{row, col, err}
		}
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *Config) check() error {
	switch {
	case c.Environment != "development" && c.Environment != "production":
		return fmt.Errorf("environment is %q: it must be development or production", c.Environment)
	case len(c.State) != 3 || strings.ToUpper(c.State) != c.State:
		return fmt.Errorf("state is %q: it must be three capital letters (ICAO 9303-3 section 5)", c.State)
	case c.Audience == "":
		return errors.New("audience is empty: say which bureau records are made for")
	case c.Station == "":
		return errors.New("station is empty: name this machine")
	case len(c.Rules) == 0:
		return errors.New("no [[product]] rule: no record could become a card")
	case c.HSM.SoftHSM == "" && c.HSM.Module == "":
		return errors.New("[hsm] names neither a softhsm folder nor a module")
	case hasPassword(c.Database.URL):
		return errors.New("[database] url holds a password: put it into a file that PGPASSFILE names, or into PGPASSWORD")
	case c.Environment == "production" && c.State == "UTO":
		return errors.New("state UTO is for development: production issues under its own code")
	case c.Environment == "production" && (c.Certificates.Contact == "" || len(c.Certificates.CRLs) == 0):
		return errors.New("[certificates] needs contact and crls in production (ICAO 9303-12)")
	case c.Environment == "production" && len(c.Records.Custodians) < custody.Needed:
		return fmt.Errorf("[records] custodians names %d keys: in production the trust file is signed by %d custodians", len(c.Records.Custodians), custody.Needed)
	case c.Environment == "production" && c.HSM.SoftHSM != "":
		return errors.New("[hsm] softhsm is for development: production keeps its keys in an HSM, named by module")
	case c.Environment == "production" && !c.Records.RequireJWE:
		return errors.New("require-jwe must be true in production: records travel enciphered")
	}
	if err := c.Records.rules().Check(); err != nil {
		return fmt.Errorf("[records] %w", err)
	}
	if c.Records.MaxLine == 0 {
		c.Records.MaxLine = 512 << 10
	}
	if c.Line.TransmitTimeout <= 0 {
		c.Line.TransmitTimeout = duration(20 * time.Second)
	}
	if c.Profiles.Signature == "" {
		c.Profiles.Signature = "profiles.jws"
	}
	if _, err := c.bankZone(); err != nil {
		return err
	}
	if c.Desk.Tries < 0 {
		return errors.New("[desk] tries is negative")
	}
	if err := c.SIM.check(); err != nil {
		return err
	}
	if c.HSM.Timeout <= 0 {
		c.HSM.Timeout = duration(30 * time.Second)
	}
	return nil
}

// hasPassword reports whether a database URL or connection string carries one.
func hasPassword(text string) bool {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return true
		}
	}
	return strings.Contains(text, "password=")
}

// Development reports whether test keys and software cards are allowed.
func (c *Config) Development() bool { return c.Environment == "development" }
