package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"net/http"
	"path"
	"slices"
	"strings"
)

// Auth says who may do what, beyond what the web config file asks for.
type Auth struct {
	Readers    []string `netmon:"readers" doc:"Users and certificate names that may read; empty: all that got in."`
	Pushers    []string `netmon:"pushers" doc:"Users that may push, and certificate names that may push for any sensor; empty: all users, and a certificate for the sensors it names."`
	Writers    []string `netmon:"writers" doc:"Users and certificate names that may remove sensors and reload; empty: none."`
	TokensFile string   `netmon:"tokens_file,format=path" doc:"Further tokens: lines SENSORS SECRET [push,read,write]."`
	Tokens     []Token  `netmon:"token" doc:"A bearer token, for the sensors whose ids match its label."`
}

// Token is a secret that stands for some sensors.
type Token struct {
	Sensors string   `netmon:"sensors,label" doc:"Sensor ids it may push for: a name, or a pattern with * and ?."`
	Secret  string   `netmon:"secret,required,sensitive" doc:"The token, 16 characters or more, or sha256: and its hash in hex."`
	Allow   []string `netmon:"allow,enum=push|read|write" doc:"What it is good for."`
}

// SetDefaults implements plugins.Defaulter.
func (t *Token) SetDefaults() { t.Allow = []string{"push"} }

const minSecret = 16 // characters

// access is what a route asks of who calls it.
type access string

const (
	forAll   access = "" // pages about the health
	forRead  access = "read"
	forPush  access = "push"
	forWrite access = "write"
)

// guard decides who may do what. It does not change.
type guard struct {
	Auth
	closed bool // nobody gets in without a credential
	users  bool // the web config file has users, and their passwords were checked before us
	tokens []token
}

type token struct {
	Token
	hash [sha256.Size]byte
}

// caller is who calls: up to a token or a user, and a certificate.
type caller struct {
	token *token
	user  string
	names []string // of a verified certificate
}

func (i *caller) anonymous() bool { return i.token == nil && i.user == "" && len(i.names) == 0 }

// String is for counters and log lines.
func (i *caller) String() string {
	switch {
	case i.token != nil:
		return "token " + i.token.Sensors
	case i.user != "":
		return "user " + i.user
	case len(i.names) > 0:
		return "certificate " + i.names[0]
	}
	return "nobody"
}

// identify finds who calls. A token that is not ours is refused even where none is
// needed, unless there are no tokens and no logins at all.
func (g *guard) identify(r *http.Request) (*caller, error) {
	who := &caller{}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		who.names = certificateNames(r.TLS.VerifiedChains[0][0])
	}
	if secret, bearer := bearerToken(r); bearer && g.closed {
		if who.token = g.find(secret); who.token == nil {
			return nil, refuse(codeUnauthenticated, "the token is not known here")
		}
	} else if user, _, basic := r.BasicAuth(); basic && g.users {
		who.user = user
	}
	return who, nil
}

// find compares with every token, so that the time says nothing about which.
func (g *guard) find(secret string) (found *token) {
	hash := sha256.Sum256([]byte(secret))
	for i := range g.tokens {
		if subtle.ConstantTimeCompare(hash[:], g.tokens[i].hash[:]) == 1 {
			found = &g.tokens[i]
		}
	}
	return found
}

func bearerToken(r *http.Request) (secret string, ok bool) {
	scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return secret, ok && strings.EqualFold(scheme, "Bearer")
}

// allow tells whether who may do what a route asks for.
func (g *guard) allow(who *caller, what access) error {
	if what == forAll {
		return nil
	}
	ok := false
	switch {
	case who.anonymous() && g.closed:
		return refuse(codeUnauthenticated, "this takes a login: a client certificate, a bearer token, or a user and password")
	case who.token != nil:
		ok = slices.Contains(who.token.Allow, string(what))
	case what == forWrite:
		ok = who.in(g.Writers)
	case who.anonymous():
		return nil
	case what == forRead:
		ok = len(g.Readers) == 0 || who.in(g.Readers)
	case what == forPush:
		ok = len(who.names) > 0 || len(g.Pushers) == 0 || who.in(g.Pushers)
	}
	switch {
	case !ok && who.anonymous():
		return refuse(codeForbidden, "nobody may %s here: auth has no writers and no token for it", what)
	case !ok:
		return refuse(codeForbidden, "%s may not %s here", who, what)
	}
	return nil
}

// speaksFor tells whether who, allowed to push, may push for this sensor: every
// credential that was shown has to agree.
func (g *guard) speaksFor(who *caller, sensor string) error {
	if who.token != nil {
		if ok, err := path.Match(who.token.Sensors, sensor); !ok || err != nil {
			return refuse(codeIdentity, "%s does not stand for sensor %s", who, brief(sensor))
		}
	}
	if len(who.names) > 0 && !slices.Contains(who.names, sensor) && !who.in(g.Pushers) {
		return refuse(codeIdentity, "the client certificate stands for %s, not for sensor %s", brief(strings.Join(who.names, ", ")), brief(sensor))
	}
	return nil
}

func (i *caller) in(list []string) bool {
	return i.user != "" && slices.Contains(list, i.user) ||
		slices.ContainsFunc(i.names, func(name string) bool { return slices.Contains(list, name) })
}

// certificateNames is what a client certificate stands for: the ID of every URI
// netmon://sensor/ID and every DNS name among its subject alternative names, or
// else its common name.
func certificateNames(c *x509.Certificate) []string {
	var names []string
	for _, u := range c.URIs {
		if u.Scheme == "netmon" && u.Host == "sensor" && len(u.Path) > 1 {
			names = append(names, u.Path[1:])
		}
	}
	names = append(names, c.DNSNames...)
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	return names
}
