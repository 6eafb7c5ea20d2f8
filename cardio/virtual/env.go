package virtual

import (
	"errors"
	"fmt"
	"io"

	"cardbureau/cardio/virtual/nvm"
)

// env is what one call of an applet sees of the chip.
type env struct {
	chip *Chip
	app  *application
	dek  dataKey // only while STORE DATA is forwarded or the application has a channel open
	over bool
}

// end makes an environment that an applet kept useless.
func (e *env) end() { e.over, e.dek = true, nil }

func (e *env) live() {
	if e.over {
		panic("virtual: an applet used its environment outside a call")
	}
}

func (e *env) AID() []byte {
	e.live()
	return append([]byte(nil), e.app.aid...)
}

func (e *env) Memory() nvm.Space {
	e.live()
	e.chip.touched = append(e.chip.touched, e.app)
	return e.chip.mem.Space(appSpace + aidKey(e.app.aid))
}

func (e *env) Random() io.Reader {
	e.live()
	return e.chip.random
}

func (e *env) DecipherDEK(data []byte) ([]byte, error) {
	e.live()
	if e.dek == nil {
		return nil, errors.New("virtual: there is no data encryption key outside STORE DATA and a secure channel")
	}
	if size := e.dek.blockSize(); len(data) == 0 || len(data)%size != 0 {
		return nil, fmt.Errorf("virtual: enciphered data of %d bytes is no multiple of %d", len(data), size)
	}
	return e.dek.decipher(data), nil
}

func (e *env) LifeCycle() byte {
	e.live()
	return e.app.state &^ appLockedBit
}

func (e *env) SetLifeCycle(state byte) error {
	e.live()
	if state&0x87 != 0x07 {
		return fmt.Errorf("virtual: %02X is no life cycle state of an application", state)
	}
	e.app.state = e.app.state&appLockedBit | state
	e.chip.reg.putApplication(e.app)
	return nil
}
