package simoperator

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"cardbureau/personalization/pairing"
)

// Notice signs a notice of an event (pairing.EventActivated and so on), and does at
// the company what it says. It signs no event that there is not.
func (o *Operator) Notice(id uuid.UUID, event string) ([]byte, error) {
	if !pairing.IsEvent(event) {
		return nil, fmt.Errorf("there is no notice of an event %q: there are %s", event, strings.Join(pairing.Events(), ", "))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sequence++
	states := map[string]string{pairing.EventActivated: "active", pairing.EventResumed: "active", pairing.EventSuspended: "suspended", pairing.EventRefused: "released", pairing.EventClosed: "released"}
	if l, state := o.lines[id], states[event]; l != nil && state != "" {
		l.state = state
	}
	return o.sign(pairing.Notice{ID: uuid.NewString(), IssuedAt: o.now().Unix(), Operator: o.Code, Pairing: id, Sequence: o.sequence, Event: event})
}

// Sign signs a notice as it is.
func (o *Operator) Sign(n pairing.Notice) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sign(n)
}

func (o *Operator) sign(n pairing.Notice) ([]byte, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: o.signing, KeyID: o.kid}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(pairing.NoticeType))
	if err != nil {
		return nil, err
	}
	object, err := signer.Sign(body)
	if err != nil {
		return nil, err
	}
	text, err := object.CompactSerialize()
	return []byte(text), err
}
