package content

import (
	"context"
	"fmt"

	"cardbureau/cardio/gp"
	"cardbureau/cardio/gp/cap"
)

// SignDAP makes the DAP block by which a security domain's provider agrees to
// a load file: its signature or MAC over the load file data block hash
// (GPC_SPE_034 C.3). hash is what INSTALL [for load] carries, see cap.Hash.
func SignDAP(ctx context.Context, provider gp.Authority, domain, hash []byte) (cap.DAP, error) {
	signature, err := provider.Sign(ctx, hash)
	if err != nil {
		return cap.DAP{}, fmt.Errorf("DAP block of %s: %w", AID(domain), err)
	}
	return cap.DAP{Domain: domain, Signature: signature}, nil
}
