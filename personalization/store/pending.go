package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cardbureau/personalization/stock"

	"github.com/google/uuid"
)

var errPending = errors.New("store: not yet written")

// ---- cluster.go

// ClusterOptions say where a private cluster lives.
type ClusterOptions struct {
	Dir    string       // the data folder of the program; the cluster is in Dir/postgres
	Bin    string       // folder of initdb and postgres; "" finds the newest installed
	Logger *slog.Logger // nil: silent
}

// Cluster is a running private PostgreSQL server, shared with the other
// processes of its folder.
type Cluster struct{}

// StartCluster makes the cluster when it is not there, starts it or adopts the
// one that runs, and holds a lease on it. The last to Close stops the server.
func StartCluster(ctx context.Context, o ClusterOptions) (*Cluster, error) { return nil, errPending }

// URL is the address for Open.
func (c *Cluster) URL() string { return "" }

// Close gives the lease back, and stops the server when nobody else holds one.
func (c *Cluster) Close() error { return nil }

// ---- store.go

// Options of Open.
type Options struct {
	Logger   *slog.Logger
	MaxConns int // of each role's pool; 0: 8
}

// Store is an open database. Safe for concurrent use.
type Store struct{}

// Migrate brings the database to this program's schema; safe to call at every start and from several processes.
func Migrate(ctx context.Context, url string) error { return errPending }

// Open connects. The schema must be there (Migrate).
func Open(ctx context.Context, url string, o Options) (*Store, error) { return nil, errPending }

// Close closes all connections.
func (s *Store) Close() {}

// Statements counts statements sent to the server since Open, by role (for the benchmark).
func (s *Store) Statements() map[string]int64 { return nil }

// Actor finds or makes the identifier of an actor: kind "operator", "api-key", "station", "program".
func (s *Store) Actor(ctx context.Context, kind, name string) (uuid.UUID, error) {
	return uuid.Nil, errPending
}

// ---- intake.go

// Person is what intake must know of a person before it seals anything.
type Person struct {
	Found          bool
	ID             uuid.UUID
	Key            DataKey
	IdentityDigest []byte // of name, birth date and photo as last accepted; 32 bytes
}

// PersonKeys looks persons up by reference (32 bytes each), in the same order, in one round trip.
func (s *Store) PersonKeys(ctx context.Context, refs [][]byte) ([]Person, error) {
	return nil, errPending
}

// AcceptRequest is a verified record on its way in.
type AcceptRequest struct {
	PersonID       uuid.UUID // of PersonKeys, or NewID() for a new person
	PersonRef      []byte    // 32 bytes
	Key            DataKey   // of PersonKeys, or a new one
	IdentityDigest []byte    // 32 bytes

	RecordRow uuid.UUID // NewID(); part of the additional data of Sealed
	RecordID  string
	Revision  int
	Digest    []byte // SHA-256 of the payload
	KeyID     string // kid
	Sealed    []byte // the signed record (compact JWS); additional data: table record, column sealed, row RecordRow
	ExpiresAt time.Time

	Product string
	Permit  string // permit kind
	Office  string
	Phase   string
	Reason  string     // first, renewal, replacement, correction
	State   OrderState // OrderAccepted, or OrderAwaitingDecision; a conflict is found by the store

	DailyCap int // accepted records a day under KeyID, 0: no cap
	Actor    Actor
}

// AcceptOutcome is what became of an accepted record.
type AcceptOutcome string

// Outcomes of acceptance.
const (
	Accepted     AcceptOutcome = "accepted"
	AlreadyKnown AcceptOutcome = "already-known"
	Replaced     AcceptOutcome = "replaced" // a lower revision's order was superseded
	Conflict     AcceptOutcome = "conflict" // kept, waits for people
)

// AcceptResult is the answer to one AcceptRequest. Err is one of the errors of intake.
type AcceptResult struct {
	OrderID uuid.UUID
	State   OrderState
	Outcome AcceptOutcome
	Err     error
}

// AcceptRecord takes one record in: person, record, order, audit and the preparation job in one transaction and one
// round trip. The error is one of the errors of intake (also in the result) or the database's.
func (s *Store) AcceptRecord(ctx context.Context, r AcceptRequest) (AcceptResult, error) {
	return AcceptResult{}, errPending
}

// AcceptRecords takes several in, in one transaction and one round trip; each has its own result.
func (s *Store) AcceptRecords(ctx context.Context, rs []AcceptRequest) ([]AcceptResult, error) {
	return nil, errPending
}

// ---- orders.go

// Order finds an order; ErrNotFound.
func (s *Store) Order(ctx context.Context, id uuid.UUID) (Order, error) { return Order{}, errPending }

// OrderCounts counts orders by state; lot uuid.Nil: all.
func (s *Store) OrderCounts(ctx context.Context, lot uuid.UUID) (map[OrderState]int, error) {
	return nil, errPending
}

// OrdersIn lists orders in a state, oldest first.
func (s *Store) OrdersIn(ctx context.Context, state OrderState, limit int) ([]Order, error) {
	return nil, errPending
}

// Withdraw takes an open order back that no line has begun; ErrWrongState.
func (s *Store) Withdraw(ctx context.Context, id uuid.UUID, reason string, a Actor) error {
	return errPending
}

// Decision is what two people decided about an order in conflict or awaiting a decision.
type Decision struct {
	OrderID   uuid.UUID
	Proceed   bool   // false: withdrawn
	Reason    string // stable code
	Approvers [2]Actor
}

// Decide carries out a decision: the order is prepared anew, or withdrawn.
func (s *Store) Decide(ctx context.Context, d Decision) error { return errPending }

// ---- prepare.go

// Preparation is all that making an image needs.
type Preparation struct {
	Order      Order
	Generation int // to be given back to SaveImage
	PersonID   uuid.UUID
	Key        DataKey
	RecordRow  uuid.UUID
	Sealed     []byte
	Digest     []byte
	KeyID      string
	Version    int // of the image to be made
}

// OrderForPreparation reads what an image is made from; ErrWrongState when the order needs none.
func (s *Store) OrderForPreparation(ctx context.Context, id uuid.UUID) (Preparation, error) {
	return Preparation{}, errPending
}

// SaveImage stores an image, voids the one before it and moves the order on: prepared, or released when its lot is.
// ErrStale, ErrCardNumberTaken.
func (s *Store) SaveImage(ctx context.Context, orderID uuid.UUID, generation int, im Image, a Actor) error {
	return errPending
}

// FailPreparation ends an order whose image can never be made (reason: stable code).
func (s *Store) FailPreparation(ctx context.Context, orderID uuid.UUID, generation int, reason string, a Actor) error {
	return errPending
}

// ---- jobs.go

// JobOptions say how preparation runs.
type JobOptions struct {
	// Prepare makes and saves the image of one order. An error is tried again later.
	Prepare func(ctx context.Context, orderID uuid.UUID) error
	Workers int // at once; 0: 2
	Logger  *slog.Logger
}

// Jobs is the running River client of this process.
type Jobs struct{}

// StartJobs begins to work off preparation jobs, those of dead processes first.
func (s *Store) StartJobs(ctx context.Context, o JobOptions) (*Jobs, error) { return nil, errPending }

// Stop lets running jobs finish until ctx ends.
func (j *Jobs) Stop(ctx context.Context) error { return errPending }

// ---- lots.go

// LotRequest names orders to be released together: by id, or all that match.
type LotRequest struct {
	Name     string
	Orders   []uuid.UUID // when given, exactly these
	Office   string      // otherwise: filters, "" matches all
	Phase    string
	Products []string
	Actor    Actor
}

// Lot is a released lot.
type Lot struct {
	ID     uuid.UUID
	Name   string
	Orders int // put into the lot
	Ready  int // of these, claimable at once; the others are when they have an image
}

// ReleaseLot releases orders that are prepared, and those still being prepared as soon as they are.
func (s *Store) ReleaseLot(ctx context.Context, r LotRequest) (Lot, error) { return Lot{}, errPending }

// ---- blanks.go

// ImportResult says what an import did.
type ImportResult struct{ Added, Known int }

// ImportBlanks adds blanks to the stock; serials already listed are left as they are and counted.
func (s *Store) ImportBlanks(ctx context.Context, blanks []stock.Blank, a Actor) (ImportResult, error) {
	return ImportResult{}, errPending
}

// BlankStatus is what is known of a blank.
type BlankStatus struct {
	stock.Blank
	State             stock.State
	FailedKeyVersions []int // versions under which an authentication failed once: never try again
}

// BlankBySerial finds a blank; ErrUnlistedBlank.
func (s *Store) BlankBySerial(ctx context.Context, serial string) (BlankStatus, error) {
	return BlankStatus{}, errPending
}

// NoteAuthenticationFailure remembers that a chip refused a key version (or we its cryptogram).
func (s *Store) NoteAuthenticationFailure(ctx context.Context, serial string, keyVersion int) error {
	return errPending
}

// MoveBlank changes the state of a blank on hand or quarantined by hand: test, returned, quarantined, spoiled (two people).
func (s *Store) MoveBlank(ctx context.Context, m BlankMove) error { return errPending }

// BlankMove is a change of a blank's state outside the line.
type BlankMove struct {
	Serial    string
	To        stock.State
	Reason    string
	Approvers [2]Actor // the second may be zero unless To is spoiled or the blank was quarantined
}

// Counts counts all blanks ever received. Attempts of dead processes are put in doubt first.
func (s *Store) Counts(ctx context.Context) (stock.Counts, error) {
	return stock.Counts{}, errPending
}

// OpenShift begins a shift; ErrWrongState when one is open at the station.
func (s *Store) OpenShift(ctx context.Context, station string, a Actor) (stock.Shift, error) {
	return stock.Shift{}, errPending
}

// CloseShift ends the open shift of a station and returns its counts.
func (s *Store) CloseShift(ctx context.Context, station string, a Actor) (stock.Shift, error) {
	return stock.Shift{}, errPending
}

// ---- station.go, claim.go, attempt.go

// Station is this process's session as a line: as long as it is open, attempts without outcome are running.
type Station struct{}

// OpenStation opens a session and puts attempts of dead processes in doubt.
func (s *Store) OpenStation(ctx context.Context, name string, a Actor) (*Station, error) {
	return nil, errPending
}

// Close ends the session; attempts still running become in doubt.
func (st *Station) Close(ctx context.Context) error { return errPending }

// ClaimRequest presents a blank.
type ClaimRequest struct {
	Serial   string
	Reader   string
	Products []string // products that can be made on this chip
}

// Claim is a committed attempt and all that making the card needs.
type Claim struct {
	AttemptID uuid.UUID
	Fence     int64 // greater than that of every earlier attempt
	Resumed   bool  // the blank was in doubt: probe before writing
	Order     Order
	PersonID  uuid.UUID
	Key       DataKey
	Image     Image
	Blank     BlankStatus
	Steps     []Step // journal of the attempt that is resumed; it only advises
}

// Claim takes the next released order for the blank and commits an attempt, in one round trip.
// ErrUnlistedBlank, *ErrBlankNotOnHand, ErrNoOrder, ErrStationClosed.
func (st *Station) Claim(ctx context.Context, r ClaimRequest) (*Claim, error) {
	return nil, errPending
}

// Resume begins a new attempt for the same order on a blank in doubt that lies in the reader again.
// ErrUnlistedBlank, *ErrBlankNotOnHand (not in doubt), ErrStationClosed.
func (st *Station) Resume(ctx context.Context, serial, reader string) (*Claim, error) {
	return nil, errPending
}

// Event of a step.
type Event string

// Events of a step.
const (
	StepIntent Event = "intent"
	StepDone   Event = "done"
	StepFailed Event = "failed"
)

// Step is a line of an attempt's journal. It holds no personal data.
type Step struct {
	Seq    int
	Name   string
	Event  Event
	Status uint16 // status word, 0: none
	At     time.Time
}

// Journal writes steps down, in one round trip; ErrFenced.
func (st *Station) Journal(ctx context.Context, attempt uuid.UUID, fence int64, steps []Step) error {
	return errPending
}

// FinishRequest is how an attempt ended.
type FinishRequest struct {
	AttemptID uuid.UUID
	Fence     int64
	Outcome   Outcome
	Reason    string // stable code, "" when issued
	// NothingWritten: the card never saw anything of the order, which goes back to the queue with the image it has.
	// Counts for quarantined and spoiled; without it the order waits for a decision (quarantined) or is prepared
	// anew (spoiled), and its image is void.
	NothingWritten bool
	Evidence       []byte   // digest of the proof, issued only
	Steps          []Step   // the rest of the journal
	Approvers      [2]Actor // spoiled only
}

// Finish commits the outcome with everything that follows from it, in one round trip. Finishing again with the same
// outcome is no error; ErrFenced when the attempt has another or is not the newest.
func (st *Station) Finish(ctx context.Context, r FinishRequest) error { return errPending }

// Doubt is an attempt in doubt that nobody has settled.
type Doubt struct {
	AttemptID uuid.UUID
	OrderID   uuid.UUID
	Serial    string
	Station   string
	Reader    string
	Reason    string // "abandoned", or what Finish was told
	StartedAt time.Time
	LastStep  string
}

// MarkAbandoned puts attempts of processes that are gone in doubt and returns how many.
func (s *Store) MarkAbandoned(ctx context.Context) (int, error) { return 0, errPending }

// InDoubt lists attempts in doubt.
func (s *Store) InDoubt(ctx context.Context) ([]Doubt, error) { return nil, errPending }

// Settlement is how two people settle an attempt in doubt without the line.
type Settlement struct {
	AttemptID uuid.UUID
	To        stock.State // spoiled or quarantined
	Reason    string
	Approvers [2]Actor
}

// SettleInDoubt gives the blank up; the order gets a new image and is released again as its lot is.
func (s *Store) SettleInDoubt(ctx context.Context, t Settlement) error { return errPending }

// ---- cards.go

// CardState is where a card is in its life.
type CardState string

// States of a card.
const (
	CardMade      CardState = "made" // issued by the line, not yet handed over
	CardActive    CardState = "active"
	CardSuspended CardState = "suspended"
	CardRevoked   CardState = "revoked"
)

// Card is a made card and its image.
type Card struct {
	ID       uuid.UUID
	Number   string
	State    CardState
	Serial   string // of the blank
	Chip     string
	OrderID  uuid.UUID
	PersonID uuid.UUID
	Key      DataKey
	Image    Image
	MadeAt   time.Time
}

// CardByNumber finds one card by its exact number, for a stated reason (audited).
func (s *Store) CardByNumber(ctx context.Context, number, reason string, a Actor) (Card, error) {
	return Card{}, errPending
}

// CardBySerial finds the card that a blank became.
func (s *Store) CardBySerial(ctx context.Context, serial, reason string, a Actor) (Card, error) {
	return Card{}, errPending
}

// ---- audit.go

// AuditReport is the result of verifying the chain.
type AuditReport struct {
	Rows int64
	Head []byte // 32 bytes: digest of the last row
}

// AuditVerify recomputes the chain; *ErrAuditBroken at the first row that does not fit.
func (s *Store) AuditVerify(ctx context.Context) (AuditReport, error) {
	return AuditReport{}, errPending
}

// ---- apikey.go

// APIKey is a bearer key without the secret.
type APIKey struct {
	ID     uuid.UUID
	Name   string
	Scopes []string
	Actor  uuid.UUID
}

// CreateAPIKey makes a key and returns it; only its SHA-256 is stored.
func (s *Store) CreateAPIKey(ctx context.Context, name string, scopes []string, a Actor) (APIKey, string, error) {
	return APIKey{}, "", errPending
}

// AuthenticateAPIKey finds the key of a bearer token; ErrNotFound when unknown or revoked.
func (s *Store) AuthenticateAPIKey(ctx context.Context, token string) (APIKey, error) {
	return APIKey{}, errPending
}

// RevokeAPIKey ends a key.
func (s *Store) RevokeAPIKey(ctx context.Context, id uuid.UUID, a Actor) error { return errPending }
