/// One object of a client's body, whose members are taken one by one; what nobody took is what its reader has no word for.
///
/// `null` stands for a member that is not there, as in every provider's API.
///
/// `isGoogle`: names are known in camel case and may be written in snake case too, as protobuf's JSON has it.
struct Fields {
    /// The object's place in the body; empty for the body itself.
    let path: String
    private let members: [(key: String, value: JSONValue)]
    private var isTaken: [Bool]
    /// By what each member is asked for.
    private let names: [String]
    private let isGoogle: Bool

    init(_ value: JSONValue, at path: String, isGoogle: Bool = false) throws(RequestError) {
        guard case .object(let members) = value else {
            throw .invalid(field: path, path.isEmpty ? "the body is no JSON object" : "is no object")
        }
        (self.path, self.members, self.isGoogle) = (path, members, isGoogle)
        names = members.map { isGoogle ? Self.camelCase($0.key) : $0.key }
        isTaken = Array(repeating: false, count: members.count)
    }

    private static func camelCase(_ name: String) -> String {
        let words = name.split(separator: "_", omittingEmptySubsequences: false)
        guard words.count > 1, words[0] != "" else { return name }
        return words[0] + words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }.joined()
    }

    /// As the client wrote it, if it did.
    func place(_ key: String) -> String {
        let written = isGoogle ? names.firstIndex(of: key).map { members[$0].key } ?? key : key
        return path.isEmpty ? written : "\(path).\(written)"
    }

    mutating func take(_ key: String) -> JSONValue? {
        var found: JSONValue?
        for index in members.indices where names[index] == key {
            isTaken[index] = true
            if found == nil, !members[index].value.isNull { found = members[index].value }
        }
        return found
    }

    /// The first of several names of one thing.
    mutating func take(_ keys: [String]) -> (value: JSONValue, place: String)? {
        var found: (value: JSONValue, place: String)?
        for key in keys {
            if let value = take(key), found == nil { found = (value, place(key)) }
        }
        return found
    }

    func peek(_ key: String) -> JSONValue? {
        zip(names, members).first { $0 == key && !$1.value.isNull }?.1.value
    }

    mutating func ignore(_ keys: String...) {
        for key in keys { _ = take(key) }
    }

    /// Keys of what was not taken, whatever they say.
    var untaken: [String] {
        members.indices.filter { !isTaken[$0] && !members[$0].value.isNull }.map { members[$0].key }
    }

    /// Places of what was not taken. `false`, `[]` and `{}` ask for nothing that could be missed.
    var unknown: [String] {
        var places: [String] = []
        for (member, isTaken) in zip(members, isTaken) where !isTaken && !Self.saysNothing(member.value) {
            if places.count == Losses.limit { break }
            places.append(place(JSONString(member.key).excerpt))
        }
        return places
    }

    private static func saysNothing(_ value: JSONValue) -> Bool {
        switch value {
        case .null, .bool(false): true
        case .array(let elements): elements.isEmpty
        case .object(let members): members.isEmpty
        default: false
        }
    }

    /// Empty strings say nothing either, for names and ids.
    mutating func string(_ key: String) throws(RequestError) -> JSONString? {
        guard let value = take(key) else { return nil }
        guard let string = value.string else { throw .invalid(field: place(key), "is no string") }
        return string
    }

    mutating func neededString(_ key: String) throws(RequestError) -> JSONString {
        guard let string = try string(key) else { throw .invalid(field: place(key), "is missing") }
        return string
    }

    mutating func number(_ key: String) throws(RequestError) -> String? {
        guard let value = take(key) else { return nil }
        guard let number = value.number else { throw .invalid(field: place(key), "is no number") }
        return number
    }

    mutating func integer(_ key: String) throws(RequestError) -> Int? {
        guard let value = take(key) else { return nil }
        guard let integer = value.integer else { throw .invalid(field: place(key), "is no integer") }
        return integer
    }

    mutating func flag(_ key: String) throws(RequestError) -> Bool? {
        guard let value = take(key) else { return nil }
        guard let flag = value.bool else { throw .invalid(field: place(key), "is neither true nor false") }
        return flag
    }

    mutating func object(_ key: String) throws(RequestError) -> Fields? {
        guard let value = take(key) else { return nil }
        return try Fields(value, at: place(key), isGoogle: isGoogle)
    }

    mutating func elements(_ key: String) throws(RequestError) -> [JSONValue]? {
        guard let value = take(key) else { return nil }
        guard let elements = value.elements else { throw .invalid(field: place(key), "is no array") }
        return elements
    }

    /// An array of objects; empty if there is none.
    mutating func objects(_ key: String) throws(RequestError) -> [Fields] {
        let elements = try elements(key) ?? []
        var objects: [Fields] = []
        objects.reserveCapacity(elements.count)
        for (index, element) in elements.enumerated() {
            objects.append(try Fields(element, at: "\(place(key))[\(index)]", isGoogle: isGoogle))
        }
        return objects
    }

    /// The conversation: an array of objects with at least one in it.
    mutating func neededObjects(_ key: String) throws(RequestError) -> [Fields] {
        let objects = try objects(key)
        if objects.isEmpty { throw .invalid(field: place(key), take(key) == nil ? "is missing" : "is empty") }
        return objects
    }

    /// A JSON Schema.
    mutating func schema(_ key: String) throws(RequestError) -> JSONValue? {
        guard let value = take(key) else { return nil }
        guard value.members != nil else { throw .invalid(field: place(key), "is no object") }
        return value
    }

    /// One of a few words.
    func notOneOf(_ words: String, _ key: String, _ found: JSONString) -> RequestError {
        .invalid(field: place(key), "'\(found.excerpt)' is not one of \(words)")
    }
}

extension JSONString {
    /// The beginning of it, for errors.
    var excerpt: String {
        raw.count > 40 ? JSONString(raw: raw.prefix(40)).text + "…" : text
    }
}
