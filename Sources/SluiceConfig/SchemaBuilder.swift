import SluiceBytes
import SluiceStreams

/// The words that the schema of the configuration is written in: what a scalar may look like in YAML, mappings, lists.
enum SchemaBuilder {
    /// One key of a mapping, with what it is for.
    struct Key {
        let name: String
        let value: JSONValue
        let isRequired: Bool

        init(_ name: String, _ value: JSONValue, _ description: String, isRequired: Bool = false) {
            var members: [(key: String, value: JSONValue)] = [(key: "description", value: JSONValue(description))]
            members += value.members ?? []
            (self.name, self.value, self.isRequired) = (name, .object(members), isRequired)
        }
    }

    // MARK: - Values

    static let text: JSONValue = ["$ref": "#/$defs/text"]
    static let flag: JSONValue = ["$ref": "#/$defs/flag"]
    static let duration: JSONValue = ["$ref": "#/$defs/duration"]
    static let size: JSONValue = ["$ref": "#/$defs/size"]
    static let secret: JSONValue = ["$ref": "#/$defs/secret"]
    private static let variable: JSONValue = ["$ref": "#/$defs/variable"]
    /// A mapping that goes elsewhere as it is.
    static let anyMapping: JSONValue = ["type": "object"]

    static func either(_ first: JSONValue, _ second: JSONValue) -> JSONValue { ["anyOf": [first, second]] }

    static func either(_ one: JSONValue, orListOf items: JSONValue) -> JSONValue {
        either(one, list(of: items, minimum: 1))
    }

    static func number(_ range: ClosedRange<Int>, or word: String) -> JSONValue { number(range, or: [word]) }

    static func number(_ range: ClosedRange<Int>, or words: [String] = []) -> JSONValue {
        let number: JSONValue = [
            "type": "integer", "minimum": JSONValue(range.lowerBound), "maximum": JSONValue(range.upperBound),
        ]
        return ["anyOf": .array([number] + words.map { ["const": JSONValue($0)] } + [variable])]
    }

    /// One of the names of an enumeration, or of `more`. YAML takes `1.1` for a number, so that stands there too.
    static func choice<E: RawRepresentable & CaseIterable>(_ type: E.Type, more: [String] = []) -> JSONValue
    where E.RawValue == String {
        choice(type.allCases.map(\.rawValue) + more)
    }

    static func choice(_ names: [String]) -> JSONValue {
        let values = names.flatMap { name -> [JSONValue] in
            guard case .number(let number)? = JSONValue.parse(name) else { return [JSONValue(name)] }
            return [JSONValue(name), .number(number)]
        }
        return ["anyOf": [["enum": .array(values)], variable]]
    }

    /// A known name, or one that the file itself makes.
    static func openChoice<E: RawRepresentable & CaseIterable>(_ type: E.Type) -> JSONValue where E.RawValue == String {
        ["anyOf": [["enum": .array(type.allCases.map { JSONValue($0.rawValue) })], text]]
    }

    // MARK: - Collections

    static func mapping(_ keys: [Key]) -> JSONValue {
        var members: [(key: String, value: JSONValue)] = [
            (key: "type", value: "object"),
            (key: "properties", value: .object(keys.map { (key: $0.name, value: $0.value) })),
            (key: "additionalProperties", value: false),
        ]
        let required = keys.filter(\.isRequired).map { JSONValue($0.name) }
        if !required.isEmpty { members.append((key: "required", value: .array(required))) }
        return .object(members)
    }

    /// A mapping whose keys are names that the user gives; `pattern`, if there is one, says what they look like.
    static func names(of value: JSONValue, pattern: String? = nil) -> JSONValue {
        guard let pattern else { return ["type": "object", "additionalProperties": value] }
        return [
            "type": "object", "patternProperties": .object([(key: pattern, value: value)]),
            "additionalProperties": false,
        ]
    }

    static func list(of value: JSONValue, minimum: Int = 0) -> JSONValue {
        minimum == 0
            ? ["type": "array", "items": value]
            : ["type": "array", "items": value, "minItems": JSONValue(minimum)]
    }

    // MARK: - Definitions

    static let definitions: JSONValue = [
        "variable": [
            "description": "Filled in from the environment: ${VAR}, ${VAR:-default}, ${VAR:?message}.",
            "type": "string", "pattern": #"\$\{"#,
        ],
        "text": ["type": ["string", "number", "boolean"]],
        "flag": ["anyOf": [["type": "boolean"], ["enum": ["true", "yes", "on", "false", "no", "off"]], variable]],
        "duration": [
            "description": "250ms, 15s, 10m, 1h; 0, off and never switch off.",
            "anyOf": [
                ["type": "string", "pattern": "^([0-9]+(ms|s|m|h)|0|off|never)$"], ["enum": [0, false]], variable,
            ],
        ],
        "size": [
            "description": "512, 64KiB, 8MiB, 1GiB.",
            "anyOf": [
                ["type": "integer", "minimum": 0], ["type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$"], variable,
            ],
        ],
        "secret": [
            "description": "Text, or a file that holds it.",
            "anyOf": [
                text,
                mapping([
                    Key(
                        "file", text, "A file whose content is the secret, without its last line end.", isRequired: true
                    )
                ]),
            ],
        ],
    ]

    // MARK: - For people

    /// Indented by two spaces; what has no mapping or list in it stands on one line.
    static func format(_ value: JSONValue, indent: Int = 0, into out: inout ByteQueue) {
        let open = "\n" + String(repeating: " ", count: indent + 2)
        let close = "\n" + String(repeating: " ", count: indent)
        func separated<T>(_ items: [T], _ ends: (String, String), _ write: (T, inout ByteQueue) -> Void) {
            out.append(ends.0)
            for (index, item) in items.enumerated() {
                out.append((index == 0 ? "" : ",") + open)
                write(item, &out)
            }
            out.append(close + ends.1)
        }
        switch value {
        case .object(let members) where !members.isEmpty:
            separated(members, ("{", "}")) { member, out in
                JSONText.appendQuoted(member.key, into: &out)
                out.append(": ")
                format(member.value, indent: indent + 2, into: &out)
            }
        case .array(let elements) where elements.contains { $0.members != nil || $0.elements != nil }:
            separated(elements, ("[", "]")) { format($0, indent: indent + 2, into: &$1) }
        default: value.append(to: &out)
        }
    }
}
