/// The exchanges of one worker that are not over, for those who ask what it does. Taking one up and letting it go costs a few
/// stores; only questions walk the list.
struct LiveExchanges {
    /// Where an exchange stands in the list.
    typealias Place = Int

    private var places: [Exchange?] = []
    private var free: [Place] = []
    private(set) var count = 0

    mutating func add(_ exchange: Exchange) -> Place {
        count += 1
        if let place = free.popLast() {
            places[place] = exchange
            return place
        }
        places.append(exchange)
        return places.count - 1
    }

    mutating func remove(_ place: Place) {
        guard places.indices.contains(place), places[place] != nil else { return }
        places[place] = nil
        free.append(place)
        count -= 1
    }

    func forEach(_ body: (Exchange) -> Void) {
        for exchange in places { if let exchange { body(exchange) } }
    }

    func first(where isWanted: (Exchange) -> Bool) -> Exchange? {
        for exchange in places { if let exchange, isWanted(exchange) { return exchange } }
        return nil
    }
}
