package document

import "time"

// Receipt is what a holder takes home from a desk: what was done with which card, and
// the statement that the card's chip has signed. It names no person and no office, and
// of a telephone number at most the last four digits.
type Receipt struct {
	Bureau      string // as it calls itself
	Development bool   // made with development keys or software cards: said on the receipt
	Kind        Deed
	Card        string    // number
	At          time.Time // printed in the time of Tehran

	Pairing *PairingReceipt // of a pairing alone

	Statement []byte // as it was signed; nil: the card did not sign
	Signature []byte // r ‖ s
}

// PairingReceipt is what the receipt of a pairing says of the SIM.
type PairingReceipt struct {
	ID       string
	Operator string // MCC and MNC
	LastFour string // last digits of the number; may be empty
	Salt     []byte // of the number's commitment: it stands nowhere else
	Pending  bool   // the operator has not yet put the subscription into service
}

// Deed is what was done at the desk.
type Deed string

// Deeds of which there are receipts.
const (
	Activated     Deed = "activated"
	Paired        Deed = "paired"
	PINSet        Deed = "pin-set"
	BlockLifted   Deed = "block-lifted"
	noSignature        = "این کارت رسید را امضا نکرد."
	onLoss             = "اگر کارت یا سیم\u200cکارت گم یا دزدیده شد، بی\u200cدرنگ به یکی از دفترهای کفالت بروید و این رسید یا شماره\u200cی کارت را نشان دهید تا کارت همان\u200cجا مسدود شود."
	onSalt             = "این کد تنها روی همین رسید نوشته شده است. آن را نگه دارید و به کسی ندهید: فقط با آن می\u200cتوان نشان داد که این شماره\u200cی تلفن با این کارت جفت شده است."
	onPIN              = "رمز کارت را تنها شما می\u200cدانید. آن را به هیچ\u200cکس، حتی کارمند دفتر، نگویید."
	onSigned           = "متن زیر را تراشه\u200cی کارت امضا کرده است، و امضا زیر آن است:"
	pairingBegun       = "جفت\u200cسازی سیم\u200cکارت با کارت آغاز شد."
	developmentFa      = "نمونه\u200cی آزمایشی: اعتبار ندارد"
)

// deeds are the sentences of what was done.
var deeds = map[Deed]string{
	Activated:   "کارت به دارنده تحویل داده شد و فعال است.",
	Paired:      "سیم\u200cکارت با کارت جفت شد.",
	PINSet:      "دارنده رمز تازه\u200cای برای کارت گذاشت.",
	BlockLifted: "مسدودی برداشته شد و کارت دوباره فعال است.",
}

// operators are the names of networks that are known by their codes (ITU-T E.212).
var operators = map[string]string{"43211": "همراه اول", "43235": "ایرانسل"}
