package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// proofLifetime is how long a timed appsecret_proof is valid (Meta, "Login Security").
const proofLifetime = 300 * time.Second

// authorise checks token and proof and returns the accounts the token has a role on.
func (m *Meta) authorise(c *metaCall) ([]string, error) {
	cfg := m.server.cfg.Meta
	token := c.params["access_token"]
	if bearer, ok := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer "); ok && token == "" {
		token = bearer
	}
	granted, known := cfg.Tokens[token]
	switch {
	case token == "":
		return nil, &metaError{Code: 190, Message: "An access token is required to request this resource."}
	case m.server.revoked[token]:
		return nil, revokedToken()
	case !known:
		return nil, &metaError{Code: 190, Message: "Invalid OAuth access token - Cannot parse access token"}
	}
	proof, sent := c.params["appsecret_proof"]
	if !sent {
		if cfg.ProofOptional {
			return granted, nil
		}
		return nil, &metaError{Code: 100, Type: "GraphMethodException", Message: "API calls from the server require an appsecret_proof argument"}
	}
	message := token
	if text, timed := c.params["appsecret_time"]; timed {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || c.now.Sub(time.Unix(seconds, 0)).Abs() > proofLifetime {
			return nil, wrongProof()
		}
		message += "|" + text
	}
	if !hmac.Equal([]byte(proof), []byte(appSecretProof(cfg.AppSecret, message))) {
		return nil, wrongProof()
	}
	return granted, nil
}

// appSecretProof is the hex HMAC-SHA256 of message under the app secret.
func appSecretProof(secret, message string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return hex.EncodeToString(mac.Sum(nil))
}

func wrongProof() error {
	return &metaError{Code: 100, Type: "GraphMethodException", Message: "Invalid appsecret_proof provided in the API argument"}
}

func revokedToken() *metaError {
	return &metaError{Code: 190, Subcode: 467, Message: "Error validating access token: the session is invalid because the user logged out."}
}
