import SluiceConfig

/// Some of an upstream's places, by their index below `PlaceSpec.limit`.
struct PlaceSet: Equatable {
    private var bits: UInt64 = 0

    init() {}
    init(_ indices: some Sequence<Int>) { for index in indices { insert(index) } }

    var isEmpty: Bool { bits == 0 }
    var count: Int { bits.nonzeroBitCount }
    var first: Int? { bits == 0 ? nil : bits.trailingZeroBitCount }

    func contains(_ index: Int) -> Bool { index >= 0 && index < PlaceSpec.limit && bits >> UInt64(index) & 1 == 1 }

    mutating func insert(_ index: Int) {
        if index >= 0, index < PlaceSpec.limit { bits |= 1 << UInt64(index) }
    }

    mutating func remove(_ index: Int) {
        if index >= 0, index < PlaceSpec.limit { bits &= ~(1 << UInt64(index)) }
    }

    func subtracting(_ other: PlaceSet) -> PlaceSet {
        var result = self
        result.bits &= ~other.bits
        return result
    }
}
