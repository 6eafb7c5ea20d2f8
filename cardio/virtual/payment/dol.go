package payment

// dolLength is how many bytes a data object list asks for.
func dolLength(dol []byte) (n int) {
	eachOfDOL(dol, func(_ uint16, size int) { n += size })
	return n
}

// fromDOL finds a value among those that a list asked for.
func fromDOL(dol, data []byte, tag uint16) (value []byte) {
	eachOfDOL(dol, func(t uint16, size int) {
		if len(data) < size {
			return
		}
		if t == tag {
			value = data[:size]
		}
		data = data[size:]
	})
	return value
}

func eachOfDOL(dol []byte, each func(tag uint16, size int)) {
	for len(dol) >= 2 {
		tag, n := uint16(dol[0]), 1
		if dol[0]&0x1F == 0x1F {
			tag, n = tag<<8|uint16(dol[1]), 2
		}
		if len(dol) <= n {
			return
		}
		each(tag, int(dol[n]))
		dol = dol[n+1:]
	}
}
