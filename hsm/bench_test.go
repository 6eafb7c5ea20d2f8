package hsm

import (
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"testing"
)

func BenchmarkSessionKey(b *testing.B) {
	ctx := context.Background()
	k, err := shared.ImportSession(ctx, kat128, SessionTemplate{Use: UseEncrypt | UseMAC | UseDerive})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	data := make([]byte, 256)
	b.Run("CMAC", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.CMAC(ctx, data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("CBC", func(b *testing.B) {
		for b.Loop() {
			if _, err := k.EncryptCBC(ctx, data[:16], data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("derive", func(b *testing.B) {
		for b.Loop() {
			d, err := k.DeriveCMAC(ctx, [][]byte{data[:32]}, 16, SessionTemplate{Use: UseMAC})
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTokenKey(b *testing.B) {
	ctx := context.Background()
	const aesLabel, ecLabel = "cb/bench.aes/1", "cb/bench.ec/1"
	if err := shared.GenerateAES(ctx, aesLabel, 32, KeyOptions{Use: UseDerive | UseWrap}); err != nil {
		b.Fatal(err)
	}
	if err := shared.GenerateEC(ctx, ecLabel, elliptic.P256(), ECSign, KeyOptions{}); err != nil {
		b.Fatal(err)
	}
	defer shared.Destroy(ctx, aesLabel)
	defer shared.Destroy(ctx, ecLabel)
	k, err := shared.AES(ctx, aesLabel)
	if err != nil {
		b.Fatal(err)
	}
	ec, err := shared.EC(ctx, ecLabel)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	b.Run("derive", func(b *testing.B) {
		for b.Loop() {
			d, err := k.DeriveCMAC(ctx, [][]byte{digest[:16]}, 16, SessionTemplate{Use: UseMAC})
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unwrap", func(b *testing.B) {
		d, err := shared.GenerateSession(ctx, 32, SessionTemplate{Exportable: true})
		if err != nil {
			b.Fatal(err)
		}
		w, err := k.Wrap(ctx, d)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			u, err := k.Unwrap(ctx, w, 32, SessionTemplate{Use: UseEncrypt})
			if err != nil {
				b.Fatal(err)
			}
			if err := u.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := ec.SignContext(ctx, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
