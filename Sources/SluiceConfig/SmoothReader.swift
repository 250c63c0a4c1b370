import SluiceBytes
import SluiceStreams

extension ConfigurationReader {
    /// `smooth: off | word | {interval: 20ms}`; nil is off.
    func readSmooth(_ section: inout Section) -> Smoother.Pace? {
        guard let node = section.value("smooth") else { return nil }
        let path = section.path(of: "smooth")
        guard case .mapping = node.kind else {
            guard let text = Scalars.text(node, path, context) else { return nil }
            switch text {
            case "word": return .word
            case "off", "false": return nil
            default:
                let what = Names.notOneOf(text, ["off", "word"])
                context.report(node, path, "\(what), or a mapping such as {interval: 20ms}")
                return nil
            }
        }
        guard var smooth = Section(node, path: path, context: context) else { return nil }
        if smooth.value("interval") == nil { smooth.missing("interval") }
        let interval = smooth.duration("interval")
        smooth.finish()
        guard let interval else { return nil }
        guard Smoother.Pace.intervals.contains(interval) else {
            context.report(smooth.value("interval") ?? node, smooth.path(of: "interval"), "must be from 5ms to 1s")
            return nil
        }
        return .interval(interval)
    }
}
