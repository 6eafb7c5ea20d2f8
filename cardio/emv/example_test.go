package emv_test

import (
	"context"
	"time"

	"cardbureau/cardio/apdu"
	"cardbureau/cardio/emv"
)

// A card that was just made is proved in parts: its records, static and dynamic
// data authentication, its counters, one ARQC, which is then declined.
func ExampleApplication() {
	prove := func(ctx context.Context, card apdu.Card, aid []byte, ca emv.CAKeys, unpredictable []byte) (emv.Request, error) {
		app, err := emv.Select(ctx, card, aid)
		if err != nil {
			return emv.Request{}, err
		}
		terminal := emv.Data{emv.TagUnpredictable: unpredictable}
		if err := app.Initiate(ctx, terminal); err != nil {
			return emv.Request{}, err
		}
		if err := app.ReadRecords(ctx); err != nil { // then app.Records, byte for byte
			return emv.Request{}, err
		}
		if _, err := app.AuthenticateStatic(ca, time.Now()); err != nil {
			return emv.Request{}, err
		}
		if _, err := app.AuthenticateDynamic(ctx, ca, time.Now(), nil, terminal); err != nil {
			return emv.Request{}, err
		}
		if _, err := app.PINTries(ctx); err != nil {
			return emv.Request{}, err
		}
		key, err := app.ICCKey(ca, time.Now())
		if err != nil {
			return emv.Request{}, err
		}
		c, sent, err := app.GenerateAC(ctx, emv.ARQC, true, emv.TagCDOL1, terminal)
		if err != nil {
			return emv.Request{}, err
		}
		if _, err := app.VerifyCombined(key, &c, unpredictable, nil); err != nil {
			return emv.Request{}, err
		}
		// The request's Input is what the issuer's keys verify c.AC over; its answer goes
		// to app.ExternalAuthenticate, and the second GENERATE AC ends the transaction.
		return emv.Request{PAN: app.PAN(), AIP: app.AIP, ATC: c.ATC, ARQC: c.AC, IAD: c.IAD, Sent: sent}, nil
	}
	_ = prove
}
