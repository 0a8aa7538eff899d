package names

// Waiting tells whether queries wait for their response: the passing of time
// alone may then bring something to harvest.
func (o *Observer) Waiting() bool { return o.pending.len() > 0 }
