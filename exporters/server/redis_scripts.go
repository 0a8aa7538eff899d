package server

import "github.com/redis/go-redis/v9"

// A sensor is three keys in one slot. KEYS[1] is a hash: n is how many changes it
// has seen, hash is that of them all, base is how many of them are in the
// checkpoint, bytes how long the journal is, born tells one that was removed and
// came back from the one before, seen is when it was last heard of (Redis' clock,
// milliseconds), about what it says of itself, and run which process of Redis took
// the last change. KEYS[2] is the journal, a list of the changes base+1..n. KEYS[3]
// is the checkpoint. KEYS[4] is there for a day after the sensor was removed: what is
// missing without it was lost.
//
// Only who knows the newest version, n with its hash, may add to it. So everything
// else is decided by the server, whose memory is what those changes lead to.
type scripts struct {
	look, add, replace, remove, forget, beat *redis.Script
}

func newScripts() scripts {
	const clock = `
local function clock()
  local t = redis.call('TIME')
  return string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
end
local function run()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end
`
	return scripts{
		// look at what there is beyond the version ARGV = n, hash. What was evicted in
		// part is of no use and is removed. Answer: nothing for a sensor that is not
		// there, one value for one that was removed, or n, hash, born, seen, about; where that is another version, also whether what follows is
		// everything, the checkpoint, the changes, and whether Redis took the last of
		// them in this life.
		look: redis.NewScript(clock + `
local m = redis.call('HMGET', KEYS[1], 'n', 'hash', 'base', 'born', 'seen', 'about', 'run')
if not m[1] then return redis.call('EXISTS', KEYS[4]) == 1 and {1} or {} end
local out = {m[1], m[2], m[4], m[5] or '0', m[6] or ''}
if m[1] == ARGV[1] and m[2] == ARGV[2] then return out end
local n, base, mine = tonumber(m[1]), tonumber(m[3]), tonumber(ARGV[1])
if redis.call('LLEN', KEYS[2]) ~= n - base or (base > 0 and redis.call('EXISTS', KEYS[3]) == 0) then
  redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  return {}
end
if mine >= base and mine < n then
  out[6], out[7] = 0, ''
else
  out[6], out[7], mine = 1, redis.call('GET', KEYS[3]) or '', base
end
out[8] = redis.call('LRANGE', KEYS[2], mine - base, -1)
out[9] = (m[7] or '') == run() and 1 or 0
return out`),

		// add one change to the version ARGV = n, hash; then the new hash, born for a
		// sensor that is new, and the change. Answer: whether it was added, the bytes of
		// the journal and of the checkpoint. The first write is the one that is refused
		// where memory is short.
		add: redis.NewScript(clock + `
local m = redis.call('HMGET', KEYS[1], 'n', 'hash')
if (m[1] or '0') ~= ARGV[1] or (m[2] or '') ~= ARGV[2] then return {0, 0, 0} end
if not m[1] then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
end
redis.call('RPUSH', KEYS[2], ARGV[5])
if not m[1] then
  redis.call('HSET', KEYS[1], 'base', '0', 'born', ARGV[4], 'bytes', '0')
end
redis.call('HSET', KEYS[1], 'n', string.format('%.0f', ARGV[1] + 1), 'hash', ARGV[3], 'seen', clock(), 'run', run())
return {1, redis.call('HINCRBY', KEYS[1], 'bytes', #ARGV[5]), redis.call('STRLEN', KEYS[3])}`),

		// replace the version ARGV = n, hash by another n, hash, born, which a
		// checkpoint leads to by itself; then seen and about, for a sensor that is not
		// there. Where it is another version, it is what a server knew, and Redis took
		// no change to it yet.
		replace: redis.NewScript(clock + `
local m = redis.call('HMGET', KEYS[1], 'n', 'hash')
if (m[1] or '0') ~= ARGV[1] or (m[2] or '') ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[3], ARGV[6])
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'n', ARGV[3], 'hash', ARGV[4], 'base', ARGV[3], 'born', ARGV[5], 'bytes', '0')
if m[1] ~= ARGV[3] or m[2] ~= ARGV[4] then redis.call('HSET', KEYS[1], 'run', 'none') end
if not m[1] then redis.call('HSET', KEYS[1], 'seen', ARGV[7], 'about', ARGV[8]) end
return 1`),

		remove: redis.NewScript(`
redis.call('SET', KEYS[4], 1, 'EX', 86400)
return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])`),

		// forget a sensor that was silent for more than ARGV milliseconds.
		forget: redis.NewScript(clock + `
local seen = redis.call('HGET', KEYS[1], 'seen')
if not seen or clock() - seen <= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[4], 1, 'EX', 86400)
return redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])`),

		// beat notes that a sensor lives, and ARGV[2] as about if ARGV[1] is 1.
		beat: redis.NewScript(clock + `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'seen', clock())
if ARGV[1] == '1' then redis.call('HSET', KEYS[1], 'about', ARGV[2]) end
return 1`),
	}
}
